"""What every side of the engine benchmark takes and gives: calls, and the times at which tokens came out.

It owns how step, prefill and throughput are read from time stamps, the same way for every side; it
refuses to know how a side generates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: prompt tokens, exactly how many new ones, and the adapter's number (None: the base)."""

    tokens: tuple[int, ...]
    new_tokens: int
    adapter: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What came of a list of calls, in their order.

    `stamps` are the seconds after the start at which each call's tokens were out; `tokens` their ids, or
    empty where a side does not tell them.
    """

    stamps: tuple[tuple[float, ...], ...]
    tokens: tuple[tuple[int, ...], ...] = ()

    @property
    def first_s(self) -> float:
        """Seconds until every call had its first token."""
        return max(own[0] for own in self.stamps)

    @property
    def seconds(self) -> float:
        """Seconds until the last token of all."""
        return max(own[-1] for own in self.stamps)

    @property
    def tokens_per_s(self) -> float:
        """New tokens of all calls over the time of all."""
        return sum(map(len, self.stamps)) / self.seconds

    @property
    def steps_s(self) -> list[float]:
        """Gaps between a call's tokens while every call was decoding, of all calls, in seconds."""
        last = min(own[-1] for own in self.stamps)
        return [
            now - before
            for own in self.stamps
            for before, now in pairwise(own)
            if self.first_s <= before and now <= last
        ]

    @property
    def step_s(self) -> float:
        """Median of `steps_s`.

        Raises:
            ValueError: there was no time at which all of them decoded.
        """
        steps = self.steps_s
        if not steps:
            raise ValueError("The calls never decoded all at once: ask for more new tokens.")
        return median(steps)


class Side(Protocol):
    """One way to serve calls."""

    @property
    def name(self) -> str:
        """Its name in figures, dtype included."""
        ...

    def run(self, calls: Sequence[Call]) -> Record:
        """Serve the calls, all there at the start, and return when the last is done."""
        ...


def spread(count: int, before: float, now: float) -> Iterator[float]:
    """Stamps of `count` tokens that came out in one piece at `now`, evenly after `before`."""
    return (before + (now - before) * (n + 1) / count for n in range(count))
