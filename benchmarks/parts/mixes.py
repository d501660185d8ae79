"""300 random mixes in fp32 against PEFT, one request at a time: the same tokens, or a tie.

A mix is a handful of requests with different adapters (rank, targets, scaling), prompts and lengths that
arrive at different times, some of them cancelled. Requests are drawn from a pool whose references are
computed once. It owns the verdict: tokens are right until the first difference, and that is allowed only
where PEFT's two best logits are closer than `TIE`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from assistant.types import AdapterVersion
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, free, say
from benchmarks.sides import adapters
from benchmarks.sides.adapters import ALL_LINEAR, ATTENTION, Shape
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours, Outcome
from benchmarks.sides.with_peft import OneByOne, Reference
from benchmarks.sides.workload import contexts

TIE = 1e-4
_SHAPES = (
    Shape(rank=4),
    Shape(rank=8),
    Shape(rank=16),
    Shape(rank=16, targets=ATTENTION),
    Shape(rank=8, targets=("q_proj", "v_proj")),
    Shape(rank=4, targets=("gate_proj", "up_proj", "down_proj")),
    Shape(rank=8, targets=ATTENTION, rslora=True),
    Shape(rank=16, rslora=True),
    Shape(rank=4, targets=("o_proj", "down_proj")),
    Shape(rank=16, targets=ALL_LINEAR),
)
_RESIDENT = 4
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
    count, pool_size, new_tokens = (4, 6, 4) if bench.quick else (300, 60, 16)
    versions = adapters.write(bench.folder, bench.out / "mixes", _SHAPES, seed=100)
    pool = _pool(bench, pool_size, new_tokens)
    references = _references(bench, versions, pool)
    mixes = list(draw(count, pool, seed=3))
    verdicts: Counter[Verdict] = Counter()
    with Ours.open(bench.folder, versions, dtype="float32", resident_adapters=_RESIDENT) as ours:
        for number, mix in enumerate(mixes):
            outcomes = _serve(ours, pool, mix)
            verdicts.update(
                judge(outcome.tokens, references[asked.call], asked.until or pool[asked.call].new_tokens)
                for asked, outcome in zip(mix, outcomes, strict=True)
            )
            if number % 50 == 49:
                say(f"{number + 1} of {count} mixes: {dict(verdicts)}")
    yield bench.figure("mixes", len(mixes), "count")
    yield bench.figure("mixes_requests", verdicts.total(), "count")
    yield bench.figure(
        "mixes_cancelled", sum(asked.until is not None for mix in mixes for asked in mix), "count"
    )
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
    short = contexts(bench.texts, size - size // 6, new_tokens=0, lengths=(4, 48), seed=6)
    long = contexts(bench.texts, size // 6, new_tokens=0, lengths=(96, 200), seed=7)
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


def _serve(ours: Ours, pool: Sequence[Call], mix: Sequence[Asked]) -> list[Outcome]:
    began = time.perf_counter()

    async def one(asked: Asked) -> Outcome:
        await asyncio.sleep(asked.at_s)
        request = ours.request(pool[asked.call], scope=asked.scope)
        return await ours.ask(request, began=began, until=asked.until)

    async def together() -> list[Outcome]:
        return await asyncio.gather(*map(one, mix))

    return ours.wait(together())
