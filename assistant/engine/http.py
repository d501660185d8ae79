"""The engine behind HTTP: a vLLM server of one's own, or a hosted one that serves adapters by model name.

It owns the engine contract over such a server; it refuses to guess: what the server cannot do is
Unsupported.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.config import HttpEngine as HttpSettings
from assistant.engine import wire
from assistant.engine.base import Delta, Fingerprint, GenerateRequest
from assistant.engine.connection import Connection
from assistant.engine.deadline import Deadline
from assistant.engine.events import Answer
from assistant.engine.served import ServedAdapters
from assistant.errors import BadRequest, Overloaded, TooLarge, Unsupported
from assistant.types import AdapterVersion, Message

if TYPE_CHECKING:
    from assistant.engine.chat import ChatTokenizer

_BYTES_PER_TOKEN, _MOST_BYTES_PER_TOKEN = 3, 8
_TICK_S = 0.02


class HttpEngine:
    """A served base model with adapters chosen per request by name."""

    def __init__(
        self,
        settings: HttpSettings,
        *,
        base_digest: str | None = None,
        tokenizer: ChatTokenizer | None = None,
        digests: tuple[str, str] = ("", ""),
    ) -> None:
        self._settings, self._base_digest, self._tokenizer = settings, base_digest, tokenizer
        self._digests = digests
        self._server = Connection(settings.url, settings, reconnect_s=settings.reconnect_s)
        replicas = (Connection(url, settings, reconnect_s=0) for url in settings.replicas)
        self._replicas = tuple(replicas) or (self._server,)
        self._adapters = ServedAdapters(settings, self._replicas)
        self._running = 0
        self._closing = False

    @classmethod
    def connect(
        cls, settings: HttpSettings, *, base_digest: str | None = None, folder: Path | None = None
    ) -> HttpEngine:
        """Describe a server; nothing is sent yet.

        Args:
            base_digest: digest of the base model it serves; adapters of another base are refused.
                None: the operator vouches for it.
            folder: the base model's folder, if it is here: its tokenizer counts exactly. Without it
                tokens are estimated from bytes.
        """
        if folder is None:
            return cls(settings, base_digest=base_digest)
        from assistant.engine.chat import ChatTokenizer
        from assistant.models.identity import identify

        identity = identify(folder)
        return cls(
            settings,
            base_digest=base_digest or identity.base_digest,
            tokenizer=ChatTokenizer(folder),
            digests=(identity.tokenizer_digest, identity.template_digest),
        )

    @property
    def fingerprint(self) -> Fingerprint:
        """What is known of a server from outside: its address and model name, and the pinned base."""
        served = f"{self._settings.url} {self._settings.model}"
        tokenizer_digest, template_digest = self._digests
        return Fingerprint(
            base_digest=self._base_digest or hashlib.sha256(served.encode()).hexdigest(),
            tokenizer_digest=tokenizer_digest,
            template_digest=template_digest,
            engine="http",
            dtype="served",
            threads=0,
            versions=(served,),
        )

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus completion, in tokens, as configured."""
        return self._settings.context_tokens

    def count_tokens(self, text: str) -> int:
        """Return number of tokens of `text`; without the tokenizer an estimate on the high side."""
        if self._tokenizer is not None:
            return self._tokenizer.count(text)
        return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return number of tokens of a whole rendered prompt; without the tokenizer an estimate."""
        if self._tokenizer is not None:
            return len(self._tokenizer.prompt(messages))
        return sum(self.count_tokens(message.content) + 8 for message in messages)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Stream one completion; closing the iterator closes the connection, and the server stops.

        A server that does not answer at all is asked again for `reconnect_s`; one that breaks off in
        mid-answer is an EngineError: what it said before may have been read already.
        """
        if not request.tokens and not request.messages:
            raise BadRequest("The request holds neither messages nor tokens.")
        self._fits(request)
        if self._closing:
            raise Overloaded("The engine is closing.", retry_after_s=5.0, remedy="Retry later.")
        deadline = Deadline(request.deadline_s)
        self._running += 1
        try:
            async with aclosing(self._deltas(request)) as deltas, aclosing(deadline.over(deltas)) as timely:
                async for delta in timely:
                    yield delta
        finally:
            self._running -= 1

    async def score(
        self, messages: Sequence[Message], completion: str, adapter: str | None = None
    ) -> list[float]:
        """Log-probabilities by vLLM's `prompt_logprobs`; Unsupported where the server has none."""
        if self._settings.server == "hosted":
            raise Unsupported(
                "A hosted model server does not score.",
                remedy="Evaluate and replay with the local engine, or with a vLLM server of your own.",
            )
        model = self._settings.model if adapter is None else self._adapters.name(adapter)
        prompt, tokens = await self._tokens(messages, completion)
        if not tokens:
            return []
        if len(prompt) + len(tokens) > self.context_tokens:
            raise TooLarge(f"Prompt and completion take more than {self.context_tokens} tokens.")
        request = {"model": model, "prompt": [*prompt, *tokens], "max_tokens": 1, "prompt_logprobs": 0}
        content = await self._adapters.with_it(adapter, lambda: self._post("/v1/completions", request))
        return wire.prompt_scores(content, tokens)

    async def load(self, version: AdapterVersion) -> None:
        """Make an adapter servable under `version.name`; the server must see the same path.

        Where several replicas are named, each that can be reached gets it; one is enough.
        """
        await self._adapters.add(version, self._base_digest or version.base_digest)

    async def unload(self, digest: str) -> None:
        """Forget an adapter; the name stays taken."""
        await self._adapters.remove(digest)

    async def close(self, grace_s: float = 0.0) -> None:
        """Take nothing new, finish what runs for up to `grace_s`, then break off and close the sockets."""
        self._closing = True
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        while self._running and loop.time() < end:
            await asyncio.sleep(_TICK_S)
        for connection in {self._server, *self._replicas}:
            await connection.close()

    async def _deltas(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        model = self._settings.model if request.adapter is None else self._adapters.name(request.adapter)
        path = wire.path(request)
        body = wire.body(request, model, hosted=self._settings.server == "hosted")
        answer = Answer(request.sampling.logprobs or 0)
        begun = await self._adapters.with_it(request.adapter, lambda: self._server.stream(path, body))
        async with aclosing(begun), aclosing(self._server.events(begun)) as events:
            async for data in events:
                if (delta := answer.add(data)) is not None:
                    yield delta
        yield answer.last()

    def _fits(self, request: GenerateRequest) -> None:
        """Refuse what surely does not fit; the server knows the rest."""
        if request.tokens:
            tokens = len(request.tokens)
        elif self._tokenizer is not None:
            tokens = self.prompt_tokens(request.messages)
        else:
            tokens = sum(len(turn.content.encode()) for turn in request.messages) // _MOST_BYTES_PER_TOKEN
        if tokens + request.sampling.max_tokens > self.context_tokens:
            raise TooLarge(
                f"Prompt and answer may take {tokens + request.sampling.max_tokens} tokens; "
                f"the model's context holds {self.context_tokens}.",
                remedy="Shorten the question or the history.",
            )

    async def _tokens(self, messages: Sequence[Message], completion: str) -> tuple[list[int], list[int]]:
        if self._tokenizer is not None:
            return self._tokenizer.prompt(messages), self._tokenizer.encode(completion)
        model = self._settings.model
        rendered = {"model": model, **wire.prompt(messages)}
        plain = {"model": model, "prompt": completion, "add_special_tokens": False}
        answers = [await self._post("/tokenize", request) for request in (rendered, plain)]
        try:
            prompt, tokens = ([int(token) for token in answer["tokens"]] for answer in answers)  # type: ignore[index]
        except (KeyError, TypeError, ValueError) as error:
            raise Unsupported("The model server does not tokenize.") from error
        return prompt, tokens

    async def _post(self, path: str, body: Mapping[str, object]) -> object:
        reply = await self._server.post(path, body)
        if not reply.ok:
            raise reply.refusal
        return reply.content
