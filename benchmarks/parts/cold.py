"""Adapters that are not resident: what a cold one costs, and 200 of them cycled through 8 slots.

It owns the time a cold adapter adds to the first token, in decode steps of a full batch; and a thousand
requests that each find their adapter evicted: memory must stay flat and every output right.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from assistant.engine.base import Sampling
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, free, say
from benchmarks.parts.mixes import judge
from benchmarks.sides import adapters
from benchmarks.sides.adapters import LOUD, Shape
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours, Outcome
from benchmarks.sides.with_peft import OneByOne, Reference
from benchmarks.sides.workload import contexts, mixed

_SLOTS = 8
_AT_ONCE = 8
_NEW_TOKENS = 4
_COLD_BAR, _FLAT_BAR = 2.0, 0.02


def run(bench: Bench) -> Iterator[Figure]:
    """Yield the cost of a cold adapter, and how the thousand requests went."""
    count, requests, sample = (10, 24, 2) if bench.quick else (200, 1000, 12)
    versions = adapters.write(bench.folder, bench.out / "cold", [Shape(change=LOUD)] * count, seed=1000)
    say(f"{count} adapters written")
    prompt = bench.texts.window(12)
    calls = [Call(tokens=prompt, new_tokens=_NEW_TOKENS, adapter=n % count) for n in range(requests)]
    with Ours.open(bench.folder, versions, resident_adapters=_SLOTS, prefix_cache_mb=0) as ours:
        yield from _cold(bench, ours)
    free()
    with Ours.open(
        bench.folder, versions, resident_adapters=_SLOTS, prefix_cache_mb=0, dtype="float32"
    ) as ours:
        outcomes, memory = _cycle(ours, calls)
    free()
    peft = OneByOne(bench.folder, versions[:sample])
    references = [peft.complete(call) for call in calls[:sample]]
    del peft
    free()
    yield from _cycled(bench, outcomes, references, memory, count)


def _cold(bench: Bench, ours: Ours) -> Iterator[Figure]:
    """Time to first token of an evicted adapter less that of a resident one, on an idle engine."""
    rounds = 2 if bench.quick else 9
    rows = 4 if bench.quick else 32
    base = contexts(bench.texts, rows, new_tokens=24, lengths=(14, 18))
    ours.run(mixed(base, _SLOTS))
    step_s = ours.run(mixed(base, _SLOTS)).step_s
    one = Call(tokens=base[0].tokens, new_tokens=8)
    cold, warm, steps = [], [], []
    for number in range(rounds):
        for call in (replace(one, adapter=n) for n in range(1, _SLOTS + 1)):
            ours.run([call])  # eight others take all slots: adapter 0 is out
        colder = ours.run([replace(one, adapter=0)])
        warmer = ours.run([replace(one, adapter=0)])
        cold.append(colder.first_s)
        warm.append(warmer.first_s)
        steps.append(median(now - before for before, now in pairwise(warmer.stamps[0])))
        say(f"cold adapter, round {number + 1} of {rounds}: {1000 * (cold[-1] - warm[-1]):.0f} ms")
    added = median(one_cold - one_warm for one_cold, one_warm in zip(cold, warm, strict=True))
    yield bench.figure("cold_first_token", 1000 * median(cold), "ms")
    yield bench.figure("cold_first_token_warm", 1000 * median(warm), "ms")
    yield bench.figure("cold_added_to_step_of_full_batch", added / step_s, "steps", at_most=_COLD_BAR)
    yield bench.figure("cold_added_to_step_of_one", added / median(steps), "steps")


def _cycle(ours: Ours, calls: Sequence[Call]) -> tuple[list[Outcome], list[int]]:
    """Serve the calls in order, a few at once; returns outcomes and memory in bytes, every 50 calls."""
    began = time.perf_counter()
    memory: list[int] = []

    async def some(part: Sequence[Call]) -> list[Outcome]:
        asked = (ours.request(call, sampling=_sampling(call)) for call in part)
        return await asyncio.gather(*(ours.ask(request, began=began) for request in asked))

    outcomes: list[Outcome] = []
    for start in range(0, len(calls), _AT_ONCE):
        outcomes += ours.wait(some(calls[start : start + _AT_ONCE]))
        if start // 50 != (start - _AT_ONCE) // 50:
            memory.append(resident_bytes())
        if start % 200 == 0:
            say(f"{len(outcomes)} of {len(calls)} requests, {memory[-1] / 1e6:.0f} MB")
    return outcomes, memory


def _sampling(call: Call) -> Sampling:
    return Sampling(max_tokens=call.new_tokens, logprobs=2)


def _cycled(
    bench: Bench,
    outcomes: Sequence[Outcome],
    references: Sequence[Reference],
    memory: Sequence[int],
    count: int,
) -> Iterator[Figure]:
    firsts = [own_reference(outcome) for outcome in outcomes[:count]]
    again = [judge(each.tokens, firsts[n % count], _NEW_TOKENS) for n, each in enumerate(outcomes)]
    beside = [
        judge(each.tokens, references[n % count], _NEW_TOKENS)
        for n, each in enumerate(outcomes)
        if n % count < len(references)
    ]
    warmed = memory[len(memory) // 4 :]
    yield bench.figure("cycled_requests", len(outcomes), "count")
    yield bench.figure("cycled_distinct_outputs", len({first.tokens for first in firsts}), "count")
    yield bench.figure("cycled_other_than_before", again.count("wrong"), "count", at_most=0)
    yield bench.figure("cycled_other_than_peft", beside.count("wrong"), "count", at_most=0)
    yield bench.figure("cycled_compared_with_peft", len(beside), "count")
    yield bench.figure("cycled_memory", median(warmed) / 1e6, "MB")
    yield bench.figure("cycled_memory_moved", spread_of(warmed), "share", at_most=_FLAT_BAR)


def own_reference(outcome: Outcome) -> Reference:
    """Take an output as the reference of later ones; margins from its own log-probabilities."""
    places = [place for delta in outcome.deltas for place in delta.logprobs]
    margins = (place.likeliest[0][1] - place.likeliest[1][1] for place in places)
    return Reference(tokens=outcome.tokens, margins=tuple(margins))


def spread_of(values: Sequence[int]) -> float:
    """How far values move from their median, as a share of it."""
    middle = median(values)
    return max(abs(value - middle) for value in values) / middle


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
