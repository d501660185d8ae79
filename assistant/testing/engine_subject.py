"""What the engine contract's suites are given, and the short request they send.

It owns no test: `engine_contract` and `sampling_contract` do.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from assistant.engine.base import Delta, Engine, GenerateRequest, Sampling
from assistant.types import AdapterVersion, Message

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

MESSAGES = (
    Message(role="system", content="You answer from the passages."),
    Message(
        role="user",
        content="[1] Leave\nParental leave lasts 18 weeks. It is paid.\n\n"
        "Question: How long is parental leave?",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the suite needs to know of an engine.

    `versions` are two adapters of its base that change its text; `queue_length` is how many requests
    it takes at once, at least three, None for an engine whose queue is elsewhere; `another` makes one
    more such engine, to be closed; None if that takes too long.
    """

    engine: Engine
    versions: tuple[AdapterVersion, AdapterVersion]
    queue_length: int | None = None
    another: Callable[[], Engine] | None = None


async def collect(engine: Engine, request: GenerateRequest) -> list[Delta]:
    """Return all deltas of one generation."""
    async with aclosing(engine.generate(request)) as deltas:
        return [delta async for delta in deltas]


def text_of(deltas: list[Delta]) -> str:
    """Return the generated text."""
    return "".join(delta.text for delta in deltas)


def request(adapter: str | None = None, **sampling: Any) -> GenerateRequest:  # noqa: ANN401 - Sampling's fields
    """Return a short request about the passages of `MESSAGES`."""
    return GenerateRequest(
        messages=MESSAGES, adapter=adapter, sampling=Sampling(**{"max_tokens": 12, **sampling})
    )
