"""300 random mixes in fp32 against PEFT, one request at a time: the same tokens, or a tie.

A mix is a handful of requests with different adapters (rank, targets, scaling), prompts and lengths that
arrive at different times, some of them cancelled; three mixes are under way at any time. Requests are
drawn from a pool whose references are computed once. It owns the verdict: tokens are right until the
first difference, and that is allowed only where PEFT's two best logits are closer than `TIE`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from assistant.types import AdapterVersion
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, free, say
from benchmarks.sides import adapters
from benchmarks.sides.adapters import ALL_LINEAR, ATTENTION, LOUD, Shape
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours, Outcome
from benchmarks.sides.with_peft import OneByOne, Reference
from benchmarks.sides.workload import contexts

TIE = 1e-4
_SHAPES = tuple(
    Shape(rank=rank, targets=targets, rslora=rslora, change=LOUD)
    for rank, targets, rslora in (
        (4, ALL_LINEAR, False),
        (8, ALL_LINEAR, False),
        (16, ALL_LINEAR, False),
        (16, ATTENTION, False),
        (8, ("q_proj", "v_proj"), False),
        (4, ("gate_proj", "up_proj", "down_proj"), False),
        (8, ATTENTION, True),
        (16, ALL_LINEAR, True),
        (4, ("o_proj", "down_proj"), False),
        (16, ALL_LINEAR, False),
    )
)
_RESIDENT, _UNDER_WAY = 4, 3
_LONGEST_S = 0.4
_CANCELLED, _SCOPED = 0.2, 0.5

Verdict = Literal["equal", "tie", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of a mix: a call of the pool, when it arrives, after how many tokens it is left."""

    call: int
    at_s: float
    until: int | None
    scope: str | None


def run(bench: Bench) -> Iterator[Figure]:
    """Yield how many mixes and requests were compared, and how the comparison went."""
    number, pool_size, new_tokens = (4, 6, 4) if bench.quick else (300, 44, 10)
    versions = adapters.write(bench.folder, bench.out / "mixes", _SHAPES, seed=100)
    pool = _pool(bench, pool_size, new_tokens)
    references = _references(bench, versions, pool)
    mixes = list(draw(number, pool, seed=3))
    with Ours.open(bench.folder, versions, dtype="float32", resident_adapters=_RESIDENT) as ours:
        outcomes = ours.wait(_serve(ours, pool, mixes))
    verdicts = Counter(
        judge(outcome.tokens, references[asked.call], asked.until or pool[asked.call].new_tokens)
        for mix, ends in zip(mixes, outcomes, strict=True)
        for asked, outcome in zip(mix, ends, strict=True)
    )
    left = sum(asked.until is not None for mix in mixes for asked in mix)
    yield bench.figure("mixes", len(mixes), "count")
    yield bench.figure("mixes_requests", verdicts.total(), "count")
    yield bench.figure("mixes_cancelled", left, "count")
    yield bench.figure("mixes_equal", verdicts["equal"], "count")
    yield bench.figure("mixes_differ_at_a_tie", verdicts["tie"], "count")
    yield bench.figure("mixes_wrong", verdicts["wrong"], "count", at_most=0)


def judge(tokens: Sequence[int], reference: Reference, wanted: int) -> Verdict:
    """Compare greedy tokens with the reference's first `wanted`.

    A request that was left may have more tokens than it waited for; one with fewer than wanted is wrong.
    """
    expected = reference.tokens[: max(wanted, len(tokens))]
    for token, right, margin in zip(tokens, expected, reference.margins, strict=False):
        if token != right:
            return "tie" if margin < TIE else "wrong"
    return "equal" if wanted <= len(tokens) <= len(reference.tokens) else "wrong"


def draw(count: int, pool: Sequence[Call], *, seed: int) -> Iterator[list[Asked]]:
    """Draw random mixes of two to eight requests."""
    chance = random.Random(seed)
    for _ in range(count):
        yield [_asked(chance, pool) for _ in range(chance.randint(2, 8))]


def _asked(chance: random.Random, pool: Sequence[Call]) -> Asked:
    call = chance.randrange(len(pool))
    left = chance.random() < _CANCELLED
    return Asked(
        call=call,
        at_s=chance.random() * _LONGEST_S,
        until=chance.randint(1, pool[call].new_tokens - 1) if left else None,
        scope="anybody" if chance.random() < _SCOPED else None,
    )


def _pool(bench: Bench, size: int, new_tokens: int) -> list[Call]:
    """Short and long prompts with all adapters and the base, from 2 to `new_tokens` new tokens."""
    chance = random.Random(5)
    short = contexts(bench.texts, size - size // 6, new_tokens=0, lengths=(4, 32), seed=6)
    long = contexts(bench.texts, size // 6, new_tokens=0, lengths=(64, 160), seed=7)
    return [
        Call(
            tokens=call.tokens,
            new_tokens=chance.randint(2, new_tokens),
            adapter=None if number % 11 == 10 else number % 11 % len(_SHAPES),
        )
        for number, call in enumerate([*short, *long])
    ]


def _references(bench: Bench, versions: Sequence[AdapterVersion], pool: Sequence[Call]) -> list[Reference]:
    peft = OneByOne(bench.folder, versions)
    references = [peft.complete(call) for call in pool]
    say(f"{len(references)} references by PEFT, one at a time")
    del peft
    free()
    return references


async def _serve(ours: Ours, pool: Sequence[Call], mixes: Sequence[Sequence[Asked]]) -> list[list[Outcome]]:
    """Serve all mixes, a few of them under way at any time."""
    gate = asyncio.Semaphore(_UNDER_WAY)
    done = count()

    async def one(asked: Asked) -> Outcome:
        await asyncio.sleep(asked.at_s)
        request = ours.request(pool[asked.call], scope=asked.scope)
        return await ours.ask(request, began=time.perf_counter(), until=asked.until)

    async def all_of(mix: Sequence[Asked]) -> list[Outcome]:
        async with gate:
            outcomes = await asyncio.gather(*map(one, mix))
        if next(done) % 50 == 49:
            say(f"another 50 of {len(mixes)} mixes")
        return outcomes

    return await asyncio.gather(*map(all_of, mixes))
