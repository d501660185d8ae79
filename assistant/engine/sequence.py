"""One request inside the loop: its tokens, how far they have run, and what is made of their logits.

It owns the state between two steps; it refuses to schedule itself or to talk to the model.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence as Tokens
from dataclasses import replace

import torch
from torch import Tensor

from assistant.engine.base import Delta
from assistant.engine.lanes import Lane
from assistant.engine.mix import Use
from assistant.engine.plan import Span
from assistant.engine.prefix import Origin
from assistant.engine.sampler import Drawn, Sampler
from assistant.engine.stream import Mail, Stream
from assistant.engine.writer import Writer
from assistant.errors import AssistantError
from assistant.types import AdapterVersion


class Sequence(ABC):
    """A request that runs or waits.

    Args:
        tokens: to run before anything can be said.
        room: tokens of the lane it needs.
        origin: what its beginning may be shared with; None: with nothing, and it runs alone, in pieces
            of one size, so that the same request gives the same tokens.
        expires_at: on the monotonic clock, None for never.
    """

    def __init__(
        self, tokens: Tokens[int], *, room: int, version: AdapterVersion | None, queue: str,
        origin: Origin | None, expires_at: float | None,
    ) -> None:  # fmt: skip
        self.tokens, self.room, self.version, self.queue = list(tokens), room, version, queue
        self.origin, self.expires_at = origin, expires_at
        self.submitted_at = time.monotonic()
        self.computed = self.reused = 0
        self.started = self.done = False
        self.failure: AssistantError | None = None
        self.lane: Lane | None = None
        self.use: Use | None = None
        self.prompt_tokens = len(tokens)

    @property
    def alone(self) -> bool:
        """Whether it runs in steps of its own."""
        return self.origin is None

    @property
    def decoding(self) -> bool:
        """Whether just its newest token has not run."""
        return self.computed > 0 and self.computed == len(self.tokens) - 1

    def span(self, most: int) -> Span:
        """Return the next tokens to run, at most so many."""
        assert self.lane is not None, "a running request has a lane"
        stop = min(self.computed + most, len(self.tokens))
        return Span(
            lane=self.lane,
            start=self.computed,
            tokens=self.tokens[self.computed : stop],
            use=self.use,
            keep=max(0, stop - max(self.computed, self.wanted_from)),
        )

    @property
    @abstractmethod
    def wanted_from(self) -> int:
        """The first token whose logits are wanted."""

    @property
    @abstractmethod
    def stream(self) -> Stream[object]:
        """Where its items go."""


class Generation(Sequence):
    """A request for new tokens."""

    def __init__(
        self, stream: Stream[Delta], tokens: Tokens[int], sampler: Sampler, writer: Writer, *, room: int,
        version: AdapterVersion | None, queue: str, origin: Origin | None, expires_at: float | None,
    ) -> None:  # fmt: skip
        super().__init__(
            tokens, room=room, version=version, queue=queue, origin=origin, expires_at=expires_at
        )
        self.sampler, self.writer = sampler, writer
        self._stream = stream

    @property
    def wanted_from(self) -> int:
        """Logits of the newest token only."""
        return len(self.tokens) - 1

    @property
    def stream(self) -> Stream[object]:
        """Where its deltas go."""
        return self._stream  # type: ignore[return-value]  # deltas are objects

    def take(self, drawn: Drawn, mail: Mail) -> bool:
        """Take the next token; return whether that was the last."""
        if (delta := self.writer.add(drawn)) is not None:
            mail.add(self._stream, replace(delta, reused_tokens=self.reused) if delta.finish else delta)
        self.tokens.append(drawn.token)
        return self.writer.finish is not None


class Scoring(Sequence):
    """A request for the log-probabilities of given tokens."""

    def __init__(
        self, stream: Stream[list[float]], prompt: Tokens[int], completion: Tokens[int], *,
        version: AdapterVersion | None, queue: str,
    ) -> None:  # fmt: skip
        tokens = [*prompt, *completion[:-1]]
        super().__init__(tokens, room=len(tokens), version=version, queue=queue, origin=None, expires_at=None)
        self.prompt_tokens = len(prompt)
        self._completion, self._stream = completion, stream
        self._scores: list[float] = []

    @property
    def wanted_from(self) -> int:
        """Logits from the prompt's last token on."""
        return self.prompt_tokens - 1

    @property
    def stream(self) -> Stream[object]:
        """Where the scores go."""
        return self._stream  # type: ignore[return-value]  # lists are objects

    def take(self, logits: Tensor, mail: Mail) -> bool:
        """Take logits [n, vocabulary] of the next tokens; return whether those were the last."""
        done = len(self._scores)
        chosen = torch.tensor(self._completion[done : done + len(logits)], device=logits.device)
        rows = logits.float().log_softmax(-1).gather(1, chosen[:, None])
        self._scores += rows[:, 0].tolist()
        if len(self._scores) < len(self._completion):
            return False
        mail.add(self._stream, self._scores)
        return True
