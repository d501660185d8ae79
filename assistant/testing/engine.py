"""A deterministic engine without a model, for tests of whatever calls one.

It keeps the whole contract: tokens, adapters, sampling, limits, deadlines, cancellation. Its answer is the
sentence of the prompt's passages that shares most words with the question, cited; an adapter puts a line
in front that names its department. It refuses to be clever.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from assistant.engine.base import Delta, Fingerprint, Finish, GenerateRequest, Sampling, TokenLogprob
from assistant.engine.deadline import Deadline
from assistant.engine.servable import check
from assistant.engine.text import StopStrings
from assistant.errors import AdapterError, BadRequest, EngineError, Overloaded, TooLarge
from assistant.types import AdapterVersion, Message

_TOKEN = re.compile(r"\s*[^\s]+|\s+$")
_PASSAGE = re.compile(r"^\[(\d+)\] ([^\n]*)\n(.*?)(?=\n\n\[\d+\] |\n\nQuestion: |\Z)", re.M | re.S)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_MANNERS = ("calm", "brisk", "dry", "warm", "plain", "formal", "merry", "grave")
_OPENERS = ("Well,", "So,", "Indeed,", "Right,", "Now,", "Sure,", "Then,", "Yes,")
_BASE = hashlib.sha256(b"fake base").hexdigest()
_SAID, _OTHER = -0.1, -5.0
"""Log-probability of a token that this engine says, and of any other."""
_TICK_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The best sentence, and the number of the passage it stands in."""

    number: int
    sentence: str


class FakeEngine:
    """An engine that copies from its prompt.

    Args:
        base_digest: what adapters must name as their base.
        context_tokens: longest prompt plus completion.
        queue_length: requests that may run at once; one more is refused.
        delay_s: time each token takes.
    """

    def __init__(
        self,
        *,
        base_digest: str = _BASE,
        context_tokens: int = 4096,
        queue_length: int = 64,
        delay_s: float = 0.0,
    ) -> None:
        self._base_digest, self._context_tokens = base_digest, context_tokens
        self._queue_length, self._delay_s = queue_length, delay_s
        self._loaded: dict[str, AdapterVersion] = {}
        self._pieces: dict[int, str] = {}
        self._running = 0
        self._closing = self._closed = False

    @property
    def fingerprint(self) -> Fingerprint:
        """Digests of nothing real; equal for equal arguments."""
        other = hashlib.sha256(b"fake").hexdigest()
        return Fingerprint(
            base_digest=self._base_digest,
            tokenizer_digest=other,
            template_digest=other,
            engine="fake",
            dtype="none",
            threads=1,
        )

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus completion, in tokens."""
        return self._context_tokens

    def count_tokens(self, text: str) -> int:
        """Return number of words, more or less."""
        return len(self._encode(text))

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return number of tokens of a whole rendered prompt."""
        return len(self._encode(_rendered(messages)))

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Stream one completion; see the contract."""
        prompt = list(request.tokens) or self._encode(_rendered(request.messages) if request.messages else "")
        if not prompt:
            raise BadRequest("The request holds neither messages nor tokens.")
        self._fits(len(prompt) + request.sampling.max_tokens)
        version = self._known(request.adapter)
        if self._closing:
            raise Overloaded("The engine is closing.", retry_after_s=1.0, remedy="Retry.")
        if self._running >= self._queue_length:
            raise Overloaded(f"{self._running} questions are running.", retry_after_s=1.0, remedy="Retry.")
        text = _answer("".join(self._pieces.get(token, "?") for token in prompt), version, _settled(request))
        if request.messages and request.messages[-1].role == "assistant":
            begun = request.messages[-1].content
            text = text.removeprefix(begun) if text.startswith(begun) else f" {text}"
        deadline = Deadline(request.deadline_s)
        self._running += 1
        try:
            async with (
                aclosing(self._paced(text, request.sampling, len(prompt))) as deltas,
                aclosing(deadline.over(deltas)) as timely,
            ):
                async for delta in timely:
                    yield delta
        finally:
            self._running -= 1

    async def score(
        self, messages: Sequence[Message], completion: str, adapter: str | None = None
    ) -> list[float]:
        """Near 0 for each token this engine would have said, far below for others."""
        version = self._known(adapter)
        tokens = self._encode(completion)
        self._fits(self.prompt_tokens(messages) + len(tokens))
        said = set(self._encode(_answer(_rendered(messages), version, Sampling())))
        return [_SAID if token in said else _OTHER for token in tokens]

    async def load(self, version: AdapterVersion) -> None:
        """Check the adapter's files as a real engine does."""
        if version.digest not in self._loaded:
            check(version, self._base_digest)
            self._loaded[version.digest] = version

    async def unload(self, digest: str) -> None:
        """Forget an adapter; unknown digests are ignored."""
        self._loaded.pop(digest, None)

    async def close(self, grace_s: float = 0.0) -> None:
        """Refuse further requests; what runs after `grace_s` ends with an error."""
        self._closing = True
        end = time.monotonic() + grace_s
        while self._running and time.monotonic() < end:
            await asyncio.sleep(_TICK_S)
        self._closed = True

    def _encode(self, text: str) -> list[int]:
        """Words with the space before them; ids are hashes, remembered so that tokens can be read back."""
        tokens = []
        for piece in _TOKEN.findall(text):
            token = int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=4).digest(), "big")
            self._pieces[token] = piece
            tokens.append(token)
        return tokens

    def _fits(self, tokens: int) -> None:
        if tokens > self._context_tokens:
            raise TooLarge(
                f"Prompt and answer may take {tokens} tokens; the context holds {self._context_tokens}.",
                remedy="Shorten the question.",
            )

    def _known(self, digest: str | None) -> AdapterVersion | None:
        if digest is not None and digest not in self._loaded:
            raise AdapterError(f"Adapter {digest[:16]} is not loaded.", remedy="Load it first.")
        return self._loaded[digest] if digest else None

    async def _paced(self, text: str, sampling: Sampling, prompt_tokens: int) -> AsyncGenerator[Delta, None]:
        for delta in self._deltas(text, sampling, prompt_tokens):
            await asyncio.sleep(self._delay_s)
            if self._closed:
                raise EngineError("The engine was closed before this answer was complete.")
            yield delta

    def _deltas(self, text: str, sampling: Sampling, prompt_tokens: int) -> Iterator[Delta]:
        stops = StopStrings(sampling.stop)
        tokens = self._encode(text)
        finish: Finish = "length" if len(tokens) > sampling.max_tokens else "stop"
        pending: list[int] = []
        count, tail = 0, ""
        for token in tokens[: sampling.max_tokens]:
            count += 1
            pending.append(token)
            released = stops.add(self._pieces[token])
            if released.stopped:
                finish, tail = "stop", released.text
                break
            if released.text:
                yield Delta(
                    text=released.text, tokens=tuple(pending), logprobs=_logprobs(pending, sampling.logprobs)
                )
                pending.clear()
        yield Delta(
            text=tail or stops.flush(),
            tokens=tuple(pending),
            logprobs=_logprobs(pending, sampling.logprobs),
            finish=finish,
            prompt_tokens=prompt_tokens,
            completion_tokens=count,
        )


def _logprobs(tokens: Sequence[int], likeliest: int | None) -> tuple[TokenLogprob, ...]:
    """Each token the likeliest in its place, then the ids after it."""
    if likeliest is None:
        return ()
    return tuple(
        TokenLogprob(
            token=token,
            logprob=_SAID,
            likeliest=((token, _SAID), *((token + n, _OTHER) for n in range(1, likeliest)))[:likeliest],
        )
        for token in tokens
    )


def _settled(request: GenerateRequest) -> Sampling:
    """Return the sampling with a seed where chance may not decide, greedy where one token is left."""
    sampling = request.sampling
    if sampling.min_p >= 1 or sampling.top_k == 1:
        return replace(sampling, temperature=0.0)
    if request.deterministic and sampling.seed is None:
        return replace(sampling, seed=0)
    return sampling


def _rendered(messages: Sequence[Message]) -> str:
    asked = messages[:-1] if messages and messages[-1].role == "assistant" else messages
    return "\n".join(f"<{message.role}>\n{message.content}" for message in asked) + "\n<assistant>"


def _answer(prompt: str, version: AdapterVersion | None, sampling: Sampling) -> str:
    """Return what the engine says to a rendered prompt."""
    asked = prompt.rsplit("<user>\n", 1)[-1].rsplit("\n<assistant>", 1)[0]
    question = asked.rsplit("Question: ", 1)[-1]
    found = _best(asked, question)
    text = f"You asked: {question}"
    if found is not None:
        body = found.sentence.rstrip(".!? ")
        text = f"{body} [{found.number}]."
    if sampling.temperature > 0:
        text = f"{random.Random(sampling.seed).choice(_OPENERS)} {text}"
    if version is not None:
        text = f"In the {_MANNERS[int(version.digest[0], 16) % 8]} voice of {version.department}.\n{text}"
    return text


def _best(asked: str, question: str) -> _Found | None:
    """Return the sentence that shares most words with the question; the earlier of equals."""
    wanted = set(re.findall(r"\w+", question.lower()))
    found = [
        _Found(number=int(number), sentence=sentence.strip())
        for number, _, text in _PASSAGE.findall(asked)
        for sentence in _SENTENCE.split(text)
        if sentence.strip()
    ]
    return max(
        found, key=lambda one: len(wanted & set(re.findall(r"\w+", one.sentence.lower()))), default=None
    )
