"""bf16's noise in a batch: how far the same tokens' log-probabilities move between 32 rows and one.

Every context is continued greedily alone and with all the others. Where both have written the same so
far, the log-probabilities of the chosen and the likeliest tokens are compared; transformers is led along
the very same tokens and compared at the same places. It owns those two distributions and their ratio.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

import numpy as np

from assistant.engine.base import Sampling
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, free, say
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours, Outcome
from benchmarks.sides.with_transformers import Generate, forced
from benchmarks.sides.workload import CONTEXT_TOKENS, contexts

_BAR = 1.5
_LIKELIEST = 8
_SHORT = (14, 18)
"""Contexts where bf16 is the slower dtype: it would take many minutes, and nobody serves in it there."""

Place = Mapping[int, float]
"""Log-probability by token at one place of a completion."""
Pair = tuple[Place, Place]
"""The same place, written alone and written in a batch."""


def run(bench: Bench) -> Iterator[Figure]:
    """Yield mean and 99.9th percentile of both sides' gaps, and their ratios."""
    rows, new_tokens = (4, 4) if bench.quick else (32, 16)
    fast = bench.rates.bfloat16 > bench.rates.float32 and not bench.quick
    calls = contexts(bench.texts, rows, new_tokens=new_tokens, lengths=CONTEXT_TOKENS if fast else _SHORT)
    with Ours.open(bench.folder, dtype="bfloat16", prefix_cache_mb=0) as ours:
        alone = [outcome for call in calls for outcome in _generate(ours, [call])]
        together = _generate(ours, calls)
    free()
    say("gap: this engine ran in a batch of one and of all")
    pairs = [shared(one, other) for one, other in zip(alone, together, strict=True)]
    own = [
        abs(one[token] - other[token]) for row in pairs for one, other in row for token in _both(one, other)
    ]
    theirs = _theirs(bench, calls, [outcome.tokens for outcome in alone], pairs)
    yield bench.figure("gap_compared", len(own), "log-probabilities")
    for name, reading in (("mean", mean), ("p999", _p999)):
        yield bench.figure(f"gap_{name}_ours", reading(own), "nat")
        yield bench.figure(f"gap_{name}_transformers", reading(theirs), "nat")
        ratio = reading(own) / reading(theirs)
        yield bench.figure(f"gap_{name}_to_transformers", ratio, "ratio", at_most=_BAR)


def shared(one: Outcome, other: Outcome) -> list[Pair]:
    """Places of two completions up to the first different token, that place included."""
    pairs: list[Pair] = []
    for mine, yours in zip(_places(one), _places(other), strict=True):
        pairs.append((mine[1], yours[1]))
        if mine[0] != yours[0]:
            break
    return pairs


def _places(outcome: Outcome) -> Iterator[tuple[int, Place]]:
    for delta in outcome.deltas:
        for each in delta.logprobs:
            yield each.token, {**dict(each.likeliest), each.token: each.logprob}


def _both(one: Place, other: Place) -> list[int]:
    return [token for token in one if token in other]


def _generate(ours: Ours, calls: Sequence[Call]) -> list[Outcome]:
    async def together() -> list[Outcome]:
        began = time.perf_counter()
        sampled = [Sampling(max_tokens=call.new_tokens, logprobs=_LIKELIEST) for call in calls]
        requests = [ours.request(call, sampling=own) for call, own in zip(calls, sampled, strict=True)]
        return await asyncio.gather(*(ours.ask(request, began=began) for request in requests))

    return ours.wait(together())


def _theirs(
    bench: Bench, calls: Sequence[Call], tokens: Sequence[Sequence[int]], pairs: Sequence[Sequence[Pair]]
) -> list[float]:
    """Return transformers' gaps at the same places for the same tokens."""
    model = Generate(bench.folder, "bfloat16").model
    together = forced(model, calls, tokens)
    gaps = []
    for row, (call, own) in enumerate(zip(calls, tokens, strict=True)):
        moved = (forced(model, [call], [own])[0] - together[row]).abs()
        gaps += [
            float(moved[place, token])
            for place, (one, other) in enumerate(pairs[row])
            for token in _both(one, other)
        ]
    say("gap: transformers ran in a batch of one and of all")
    return gaps


def _p999(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99.9))
