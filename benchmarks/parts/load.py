"""Requests sent at their time whatever becomes of them (an open loop), and what became of each.

It owns the sending and the account: served whole, refused with a time to retry, or lost. It refuses to
retry.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from assistant.errors import Overloaded
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request and its end. Times in seconds after the load's start."""

    department: str
    at_s: float
    tokens: int
    end: Literal["served", "refused", "refused without a time", "lost"]
    first_s: float = 0.0
    end_s: float = 0.0

    @property
    def wait_s(self) -> float:
        """Time to first token."""
        return self.first_s - self.at_s


def schedule(rates: Mapping[str, float], seconds: float, *, seed: int) -> list[tuple[float, str]]:
    """Poisson arrivals of every department during `seconds`, in order of time.

    Args:
        rates: requests a second, by department.
    """
    chance = random.Random(seed)
    return sorted(
        (at, department) for department, rate in rates.items() for at in _arrivals(rate, seconds, chance)
    )


def _arrivals(rate: float, seconds: float, chance: random.Random) -> Iterator[float]:
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def send(ours: Ours, calls: Sequence[Call], arrivals: Sequence[tuple[float, str]]) -> list[Sent]:
    """Send a call at each arrival, from the arrival's department; returns when all have ended."""

    async def everything() -> list[Sent]:
        began = time.perf_counter()
        return await asyncio.gather(
            *(_send(ours, calls[n % len(calls)], *arrival, began) for n, arrival in enumerate(arrivals))
        )

    return ours.wait(everything())


async def _send(ours: Ours, call: Call, at_s: float, department: str, began: float) -> Sent:
    await asyncio.sleep(began + at_s - time.perf_counter())
    tokens = len(call.tokens) + call.new_tokens
    try:
        outcome = await ours.ask(ours.request(call, queue=department), began=began)
    except Overloaded as refused:
        end: Literal["refused", "refused without a time"] = (
            "refused" if refused.retry_after_s > 0 else "refused without a time"
        )
        return Sent(department=department, at_s=at_s, tokens=tokens, end=end)
    whole = len(outcome.stamps) == call.new_tokens
    return Sent(
        department=department,
        at_s=at_s,
        tokens=tokens,
        end="served" if whole else "lost",
        first_s=outcome.stamps[0] if whole else 0.0,
        end_s=outcome.stamps[-1] if whole else 0.0,
    )


def fair_shares(offered: Mapping[str, float], served: float) -> dict[str, float]:
    """Max-min fair division of `served` tokens: nobody gets more than it offered, the rest is divided.

    Source: progressive filling, Bertsekas and Gallager, Data Networks, section 6.5.2.
    """
    shares: dict[str, float] = {}
    left, open_ones = served, dict(offered)
    while open_ones:
        equal = left / len(open_ones)
        small = {name: load for name, load in open_ones.items() if load <= equal}
        if not small:
            return shares | dict.fromkeys(open_ones, equal)
        shares |= small
        left -= sum(small.values())
        open_ones = {name: load for name, load in open_ones.items() if name not in small}
    return shares
