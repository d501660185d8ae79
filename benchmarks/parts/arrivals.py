"""Mixed lengths that arrive by a seeded Poisson process: continuous batching against static batches.

Static batching takes 32 requests in the order they arrive, waits until they are there, and runs all to
the longest. Both forms of it are shown: transformers' `generate`, which the bar is against, and this
engine itself given 32 at a time. Requests arrive at 1.5 times the rate that `generate` can take, so that
makespan is about capacity, not about the last arrival alone. It owns the schedule; a batch's duration
does not depend on when it starts, so static makespans follow from measured durations.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import TypeVar

from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, apart, free, say
from benchmarks.parts.trial import better, warm
from benchmarks.sides.base import Call, Side
from benchmarks.sides.ours import Ours, Outcome, record
from benchmarks.sides.with_transformers import Generate
from benchmarks.sides.workload import contexts

_PROMPT_TOKENS = (48, 80)
_NEW_TOKENS = (16, 256)
_PRESSURE = 1.5
_SEED = 11

Item = TypeVar("Item")


def run(bench: Bench) -> Iterator[Figure]:
    """Yield makespans and their ratio."""
    count, size, new_tokens = (8, 4, (2, 12)) if bench.quick else (64, 32, _NEW_TOKENS)
    calls = _calls(bench, count, new_tokens)
    durations = apart(lambda: _static(bench, calls, size))
    rate = _PRESSURE * count / sum(durations)
    arrivals = poisson(count, rate)
    free()
    with Ours.open(bench.folder, prefix_cache_mb=0) as ours:
        warm(ours, calls[:size])
        own = _durations(ours, calls, size)
        seconds = _serve(ours, calls, arrivals)
    static, own_static = (static_makespan(arrivals, size, each) for each in (durations, own))
    say(f"makespan: static {static:.0f} s, own static {own_static:.0f} s, continuous {seconds:.0f} s")
    yield bench.figure("arrivals_rate", rate, "requests/s")
    yield bench.figure("arrivals_last", arrivals[-1], "s")
    yield bench.figure("makespan_static_transformers", static, "s")
    yield bench.figure("makespan_static_ours", own_static, "s")
    yield bench.figure("makespan_ours", seconds, "s")
    yield bench.figure("makespan_to_static_transformers", seconds / static, "share", at_most=1 / 1.6, aim=0.5)
    yield bench.figure("makespan_to_static_ours", seconds / own_static, "share")


def poisson(count: int, rate: float, seed: int = _SEED) -> list[float]:
    """Arrival times in seconds: the first at 0, gaps exponential with mean `1 / rate`."""
    chance = random.Random(seed)
    return list(accumulate((chance.expovariate(rate) for _ in range(count - 1)), initial=0.0))


def static_makespan(arrivals: Sequence[float], size: int, durations: Sequence[float]) -> float:
    """Seconds from the first arrival until the last batch is done.

    Args:
        durations: of each batch of `size` in arrival order; it starts when its last request is there and
            the one before is done.
    """
    end = 0.0
    for batch, duration in zip(batches(arrivals, size), durations, strict=True):
        end = max(end, batch[-1]) + duration
    return end


def batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut a list into pieces of `size`; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _calls(bench: Bench, count: int, new_tokens: tuple[int, int]) -> list[Call]:
    chance = random.Random(_SEED)
    calls = contexts(bench.texts, count, new_tokens=0, lengths=_PROMPT_TOKENS, seed=_SEED)
    return [Call(tokens=call.tokens, new_tokens=chance.randint(*new_tokens)) for call in calls]


def _static(bench: Bench, calls: Sequence[Call], size: int) -> list[float]:
    """Measured seconds of transformers' static batches."""
    return _durations(better(bench, partial(Generate, bench.folder), calls[:size]).side, calls, size)


def _durations(side: Side, calls: Sequence[Call], size: int) -> list[float]:
    """Measured seconds of each static batch."""
    seconds = []
    for number, batch in enumerate(batches(calls, size)):
        began = time.perf_counter()
        side.run(batch)
        seconds.append(time.perf_counter() - began)
        say(f"static batch {number + 1} of {side.name}: {seconds[-1]:.1f} s")
    return seconds


def _serve(ours: Ours, calls: Sequence[Call], arrivals: Sequence[float]) -> float:
    """Seconds until the last token, every request sent when it arrives."""
    began = time.perf_counter()

    async def one(call: Call, at: float) -> Outcome:
        await asyncio.sleep(began + at - time.perf_counter())
        return await ours.ask(ours.request(call), began=began)

    async def all_of_them() -> list[Outcome]:
        return await asyncio.gather(*map(one, calls, arrivals))

    return record(calls, ours.wait(all_of_them())).seconds
