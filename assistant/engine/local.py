"""The engine in this process: transformers and PEFT, an adapter per request.

It owns the life of a request: checks before queueing, one worker thread that owns the model, streaming,
cancellation between two steps. One request runs at a time. It refuses to merge adapters.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from assistant.engine.base import Delta, Fingerprint, GenerateRequest, Sampling
from assistant.engine.chat import ChatTokenizer
from assistant.engine.worker import Job, Worker
from assistant.errors import AdapterError, BadRequest, TooLarge
from assistant.models.identity import ModelIdentity, identify
from assistant.types import AdapterVersion, Message

if TYPE_CHECKING:
    from assistant.engine.model import Model

T = TypeVar("T")
_LIBRARIES = ("torch", "transformers", "tokenizers", "peft")


class LocalEngine:
    """A base model in this process that serves many adapters, chosen per request."""

    def __init__(
        self,
        *,
        model: Model,
        tokenizer: ChatTokenizer,
        worker: Worker,
        fingerprint: Fingerprint,
    ) -> None:
        self._model, self._tokenizer, self._worker = model, tokenizer, worker
        self._fingerprint = fingerprint
        self._versions: dict[str, AdapterVersion] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        dtype: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        resident_adapters: int = 8,
        queue_length: int = 64,
    ) -> LocalEngine:
        """Load the model in `folder`.

        Args:
            dtype, device: or `auto`: the device there is, the arithmetic it runs fastest.
            threads: torch's, for the whole process; None leaves them.
            resident_adapters: adapters kept inside the model; others are read again when asked for.
            queue_length: requests that may wait; one more is refused.

        Raises:
            ModelError: missing or damaged model files.
        """
        import torch

        from assistant.engine.model import Model

        identity = identify(folder)
        if threads:
            torch.set_num_threads(threads)
        tokenizer = ChatTokenizer(folder)
        model = Model(folder, dtype=dtype, device=device, resident=resident_adapters)
        fingerprint = _fingerprint(identity, model.dtype, torch.get_num_threads())
        return cls(model=model, tokenizer=tokenizer, worker=Worker(queue_length), fingerprint=fingerprint)

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of model, arithmetic and libraries."""
        return self._fingerprint

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus completion, in tokens."""
        return self._model.context_tokens

    def count_tokens(self, text: str) -> int:
        """Return number of tokens of `text`, without special tokens."""
        return self._tokenizer.count(text)

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return number of tokens of a whole rendered prompt, generation header included."""
        return len(self._tokenizer.prompt(messages))

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Stream one completion; see the contract."""
        prompt = self._prompt(request)
        version = self._known(request.adapter)
        job = self._worker.submit(lambda: self._complete(prompt, version, request.sampling))
        async with aclosing(job.read()) as deltas:
            async for delta in deltas:
                if delta.text or delta.finish:
                    yield delta

    async def score(
        self, messages: Sequence[Message], completion: str, adapter: str | None = None
    ) -> list[float]:
        """Natural-log probability of each token of `completion` after the rendered prompt."""
        prompt, tokens = self._tokenizer.prompt(messages), self._tokenizer.encode(completion)
        self._fits(len(prompt) + len(tokens))
        version = self._known(adapter)
        if not tokens:
            return []
        return await _only(self._worker.submit(lambda: self._score(prompt, tokens, version)))

    async def load(self, version: AdapterVersion) -> None:
        """Make an adapter servable; loading one twice is a no-op."""
        from assistant.engine.slots import check

        if version.digest in self._versions:
            return

        def insert() -> Iterator[None]:
            check(version, self._fingerprint.base_digest)
            self._model.slots.add(version)
            yield None

        await _only(self._worker.submit(insert, bounded=False))
        self._versions[version.digest] = version

    async def unload(self, digest: str) -> None:
        """Forget an adapter; unknown digests are ignored."""
        if self._versions.pop(digest, None) is None:
            return

        def remove() -> Iterator[None]:
            self._model.slots.remove(digest)
            yield None

        await _only(self._worker.submit(remove, bounded=False))

    async def close(self) -> None:
        """Cancel what runs and free the model."""
        import asyncio

        await asyncio.to_thread(self._worker.close)

    def _prompt(self, request: GenerateRequest) -> list[int]:
        if not request.tokens and not request.messages:
            raise BadRequest("The request holds neither messages nor tokens.")
        prompt = list(request.tokens) or self._tokenizer.prompt(request.messages)
        self._fits(len(prompt) + request.sampling.max_tokens)
        return prompt

    def _fits(self, tokens: int) -> None:
        if tokens > self.context_tokens:
            raise TooLarge(
                f"Prompt and answer may take {tokens} tokens; the context holds {self.context_tokens}.",
                remedy="Shorten the question or the history.",
            )

    def _known(self, digest: str | None) -> AdapterVersion | None:
        if digest is None:
            return None
        if digest not in self._versions:
            raise AdapterError(f"Adapter {digest[:16]} is not loaded.", remedy="Load it first.")
        return self._versions[digest]

    def _complete(
        self, prompt: list[int], version: AdapterVersion | None, sampling: Sampling
    ) -> Iterator[Delta]:
        """One generation, in the worker's thread."""
        from assistant.engine.generation import complete

        self._model.slots.activate(version)
        yield from complete(self._model, self._tokenizer, prompt, sampling)

    def _score(
        self, prompt: list[int], tokens: list[int], version: AdapterVersion | None
    ) -> Iterator[list[float]]:
        self._model.slots.activate(version)
        row = self._model.empty_row()
        for _ in self._model.prefill(row, prompt[:-1]):
            pass
        yield self._model.score(row, prompt[-1], tokens)


def _fingerprint(identity: ModelIdentity, dtype: str, threads: int) -> Fingerprint:
    return Fingerprint(
        base_digest=identity.base_digest,
        tokenizer_digest=identity.tokenizer_digest,
        template_digest=identity.template_digest,
        engine="local",
        dtype=dtype,
        threads=threads,
        versions=tuple(f"{name}=={library_version(name)}" for name in _LIBRARIES),
    )


async def _only(job: Job[T]) -> T:
    """Return the single item of a job."""
    async with aclosing(job.read()) as items:
        async for item in items:
            return item
    raise AssertionError("the job yields one item")
