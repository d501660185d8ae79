"""The engine in this process: one base model, an adapter per request, all of them in one batch.

It owns the life of a request on this side of the engine's thread: checks before queueing, tokens in, deltas
out. It refuses to merge adapters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from assistant.engine.base import Delta, Fingerprint, GenerateRequest
from assistant.engine.chat import ChatTokenizer
from assistant.engine.metrics import EngineStats, Metrics
from assistant.engine.queues import FairQueues
from assistant.engine.sampling import check
from assistant.errors import AdapterError, BadRequest, TooLarge
from assistant.models.identity import ModelIdentity, identify
from assistant.types import AdapterVersion, Message

if TYPE_CHECKING:
    from assistant.engine.arithmetic import Prepack
    from assistant.engine.model import Model
    from assistant.engine.sequence import Sequence as Running
    from assistant.engine.stream import Stream

T = TypeVar("T")
_LIBRARIES = ("torch", "transformers", "tokenizers")
_MIB = 1 << 20


class LocalEngine:
    """A base model in this process that serves many adapters, chosen per request.

    Args:
        model: with its adapters' slots still empty; the engine takes it over.
        prefix_cache_mb: memory for kept computations of prompts' beginnings; 0 keeps none.
        resident_adapters: as many as the model has slots.
    """

    def __init__(
        self, model: Model, tokenizer: ChatTokenizer, fingerprint: Fingerprint, *, resident_adapters: int = 8,
        batch_size: int = 32, prefix_cache_mb: int = 256, queue_length: int = 64,
        max_wait_s: float | None = None, longest_pause_s: float = 1.0,
    ) -> None:  # fmt: skip
        from assistant.engine.loader import AdapterLoader
        from assistant.engine.loop import Loop
        from assistant.engine.pace import Pace
        from assistant.engine.prefix import PrefixCache
        from assistant.engine.scheduler import Scheduler
        from assistant.engine.slots import AdapterSlots

        self._model, self._tokenizer, self._fingerprint = model, tokenizer, fingerprint
        self._versions: dict[str, AdapterVersion] = {}
        self._slots = AdapterSlots([network.products for network in model.networks], resident_adapters)
        self._metrics = Metrics(cache_tokens=model.cache.lanes.total)
        pace = Pace(longest_pause_s)
        queues: FairQueues[Running] = FairQueues(length=queue_length, max_wait_s=max_wait_s)
        products = model.networks[0].products
        self._loader = AdapterLoader(fingerprint.base_digest, products, lambda: self._loop.wake())
        self._prefix = PrefixCache(model.cache, prefix_cache_mb * _MIB if model.shares else 0)
        scheduler = Scheduler(
            model, self._slots, self._loader, self._prefix, pace, queues, self._metrics, batch_size=batch_size
        )
        self._loop = Loop(model, scheduler, queues, pace, self._metrics)

    @classmethod
    def open(
        cls, folder: Path, *, dtype: str = "auto", device: str = "auto", threads: int | None = None,
        prepack: Prepack = "auto", kernels: Literal["auto", "off"] = "auto", cache_mb: int | None = None,
        resident_adapters: int = 8,
        batch_size: int = 32, prefix_cache_mb: int = 256, queue_length: int = 64,
        max_wait_s: float | None = None, longest_pause_s: float = 1.0,
    ) -> LocalEngine:  # fmt: skip
        """Load the model in `folder`.

        Args:
            dtype, device, prepack: or `auto`: the device there is, the arithmetic it runs fastest.
            kernels: `auto` compiles our own where there is a C compiler, `off` does without.
            threads: torch's, for the whole process; None leaves them.
            cache_mb: memory for keys and values; None takes a quarter of what is free. One full context
                is the least.
            resident_adapters: adapters kept beside the model; others are read again when asked for.
            batch_size: requests that run together.
            prefix_cache_mb: memory for kept computations of prompts' beginnings; 0 keeps none.
            queue_length: requests that may wait in each queue; one more is refused.
            max_wait_s: predicted wait from which on a queue refuses too; None: its length alone decides.
            longest_pause_s: how long a prompt may keep others waiting for their next token.

        Raises:
            ModelError: missing or damaged model files.
        """
        import torch

        from assistant.engine.model import Model

        identity = identify(folder)
        if threads:
            torch.set_num_threads(threads)
        tokenizer = ChatTokenizer(folder)
        # OpenMP keeps workers for every thread that computed; more than there are cores no longer spin
        # between two products, which costs a small step 5 %. These end with their thread.
        with ThreadPoolExecutor(1, "load") as thread:
            model, choice = thread.submit(
                Model.load, folder, dtype=dtype, device=device, prepack=prepack, slots=resident_adapters,
                cache_bytes=None if cache_mb is None else cache_mb * _MIB, batch_size=batch_size,
                compiled=kernels == "auto",
            ).result()  # fmt: skip
        ways = ("compiled" if model.compiled else "", "few rows narrow" if model.narrow else "")
        arithmetic = ", ".join((str(choice), *filter(None, ways)))
        fingerprint = _fingerprint(identity, arithmetic, torch.get_num_threads())
        return cls(
            model, tokenizer, fingerprint, resident_adapters=resident_adapters, batch_size=batch_size,
            prefix_cache_mb=prefix_cache_mb, queue_length=queue_length, max_wait_s=max_wait_s,
            longest_pause_s=longest_pause_s,
        )  # fmt: skip

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

    def stats(self) -> EngineStats:
        """Return what the engine did and does."""
        return self._metrics.snapshot()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Stream one completion; see the contract."""
        from assistant.engine.prefix import Origin
        from assistant.engine.sampler import Sampler
        from assistant.engine.sequence import Generation
        from assistant.engine.stream import Stream
        from assistant.engine.writer import Writer

        check(request.sampling)
        prompt, public = self._prompt(request)
        origin = Origin(adapter=request.adapter, public=public, scope=request.scope)
        stream: Stream[Delta] = Stream()
        within = request.deadline_s
        sequence = Generation(
            stream,
            prompt,
            Sampler(request.sampling, prompt),
            Writer(self._tokenizer, request.sampling, len(prompt)),
            room=len(prompt) + request.sampling.max_tokens,
            version=self._known(request.adapter),
            queue=request.queue,
            origin=None if request.deterministic else origin,
            expires_at=None if within is None else time.monotonic() + within,
        )
        self._loop.submit(sequence)
        async with aclosing(stream.read()) as deltas:
            async for delta in deltas:
                yield delta

    async def score(
        self, messages: Sequence[Message], completion: str, adapter: str | None = None
    ) -> list[float]:
        """Natural-log probability of each token of `completion` after the rendered prompt."""
        from assistant.engine.sequence import Scoring
        from assistant.engine.stream import Stream

        prompt, tokens = self._tokenizer.prompt(messages), self._tokenizer.encode(completion)
        self._fits(len(prompt) + len(tokens))
        version = self._known(adapter)
        if not tokens:
            return []
        stream: Stream[list[float]] = Stream()
        self._loop.submit(Scoring(stream, prompt, tokens, version=version, queue=""))
        return await _only(stream)

    async def load(self, version: AdapterVersion) -> None:
        """Make an adapter servable; loading one twice is a no-op. It becomes resident if a slot is free."""
        from assistant.engine.slots import prepare

        if version.digest in self._versions:
            return
        products = self._model.networks[0].products
        adapter = await asyncio.to_thread(prepare, version, self._fingerprint.base_digest, products)
        insert = self._loop.call(lambda: self._slots.has_free and self._slots.insert(adapter))
        await asyncio.wrap_future(insert)
        self._versions[version.digest] = version

    async def unload(self, digest: str) -> None:
        """Forget an adapter; unknown digests are ignored. Requests that run with it finish."""
        if self._versions.pop(digest, None) is not None:
            await asyncio.wrap_future(self._loop.call(lambda: self._slots.discard(digest)))

    async def pin(self, digests: Iterable[str]) -> None:
        """Keep these adapters resident from the moment they are; the others share the remaining slots."""
        chosen = frozenset(digests)
        await asyncio.wrap_future(self._loop.call(lambda: self._slots.pin(chosen)))

    def forget_prompts(self) -> int:
        """Let go of what was computed of earlier prompts, between two steps; return how many blocks."""
        return self._loop.call(self._prefix.clear).result()

    async def close(self, grace_s: float = 0.0) -> None:
        """Take nothing new, finish what runs for up to `grace_s`, cancel the rest, free the model."""
        await asyncio.to_thread(self._loop.close, grace_s)
        await asyncio.to_thread(self._loader.close)

    def _prompt(self, request: GenerateRequest) -> tuple[list[int], int]:
        """Return the prompt's tokens and how many of the first are anybody's."""
        if not request.tokens and not request.messages:
            raise BadRequest("The request holds neither messages nor tokens.")
        prompt = list(request.tokens) or self._tokenizer.prompt(request.messages)
        if not 0 <= min(prompt) <= max(prompt) < self._model.vocabulary:
            raise BadRequest(f"Tokens are whole numbers from 0, below {self._model.vocabulary}.")
        self._fits(len(prompt) + request.sampling.max_tokens)
        public = 0
        if request.public_messages and not request.tokens:
            public = self._tokenizer.shared(request.messages[: request.public_messages], prompt)
        return prompt, public

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


def _fingerprint(identity: ModelIdentity, arithmetic: str, threads: int) -> Fingerprint:
    return Fingerprint(
        base_digest=identity.base_digest,
        tokenizer_digest=identity.tokenizer_digest,
        template_digest=identity.template_digest,
        engine="local",
        dtype=arithmetic,
        threads=threads,
        versions=tuple(f"{name}=={library_version(name)}" for name in _LIBRARIES),
    )


async def _only(stream: Stream[T]) -> T:
    """Return the single item of a stream."""
    async with aclosing(stream.read()) as items:
        async for item in items:
            return item
    raise AssertionError("the stream holds one item")
