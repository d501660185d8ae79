"""What must be the same to the digit: `score` beside a plain forward pass, and the deterministic mode.

It owns both checks. Deterministic requests run twice, among different company each time, sampled at
temperature one with a seed: the tokens must not move.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence

from assistant.engine.base import GenerateRequest, Sampling
from assistant.engine.chat import ChatTokenizer
from assistant.types import Message
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, free, say
from benchmarks.sides.ours import Ours, Outcome
from benchmarks.sides.with_peft import OneByOne
from benchmarks.sides.workload import contexts, mixed

_SCORE_BAR = 1e-4
_COMPLETION_TOKENS = 24


def run(bench: Bench) -> Iterator[Figure]:
    """Yield the largest difference of a score, and how many deterministic requests repeated."""
    yield from _score(bench)
    yield from _deterministic(bench)


def _score(bench: Bench) -> Iterator[Figure]:
    count = 3 if bench.quick else 18
    tokenizer = ChatTokenizer(bench.folder)
    chance = random.Random(8)
    asked = []
    for number in range(count):
        prompt = tokenizer.decode(bench.texts.window(chance.randint(8, 160)))
        completion = tokenizer.decode(bench.texts.window(_COMPLETION_TOKENS))
        adapter = None if number % 3 == 0 else number % len(bench.versions)
        asked.append(((Message(role="user", content=prompt),), completion, adapter))
    with Ours.open(bench.folder, bench.versions, dtype="float32") as ours:
        scores = [
            ours.wait(
                ours.engine.score(
                    messages, completion, None if adapter is None else bench.versions[adapter].digest
                )
            )
            for messages, completion, adapter in asked
        ]
    peft = OneByOne(bench.folder, bench.versions)
    differences = []
    for own, (messages, completion, adapter) in zip(scores, asked, strict=True):
        plain = peft.logprobs(tokenizer.prompt(messages), tokenizer.encode(completion), adapter)
        differences += [abs(one - other) for one, other in zip(own, plain, strict=True)]
    del peft
    free()
    yield bench.figure("score_compared", len(differences), "log-probabilities")
    yield bench.figure("score_largest_difference", max(differences), "nat", at_most=_SCORE_BAR)


def _deterministic(bench: Bench) -> Iterator[Figure]:
    count = 4 if bench.quick else 100
    calls = mixed(contexts(bench.texts, count, new_tokens=6, lengths=(8, 16), seed=9), len(bench.versions))
    with Ours.open(bench.folder, bench.versions) as ours:
        asked = [
            ours.request(
                call,
                sampling=Sampling(max_tokens=call.new_tokens, temperature=1.0, seed=number),
                deterministic=True,
            )
            for number, call in enumerate(calls)
        ]
        runs = [_among_others(ours, asked, bench, seed) for seed in (1, 2)]
    same = sum(one.tokens == other.tokens for one, other in zip(*runs, strict=True))
    yield bench.figure("deterministic_requests", count, "count")
    yield bench.figure("deterministic_identical", same, "count", at_least=count)


def _among_others(ours: Ours, asked: Sequence[GenerateRequest], bench: Bench, seed: int) -> list[Outcome]:
    """Serve the requests in a random order among half as many plain ones."""
    chance = random.Random(seed)
    company = mixed(
        contexts(bench.texts, len(asked) // 2, new_tokens=12, lengths=(8, 40), seed=seed), len(bench.versions)
    )
    requests = [*asked, *(ours.request(call) for call in company)]
    order = chance.sample(range(len(requests)), len(requests))
    outcomes = ours.wait(_all(ours, [requests[place] for place in order]))
    say(f"deterministic requests, run {seed}")
    by_place = dict(zip(order, outcomes, strict=True))
    return [by_place[place] for place in range(len(asked))]


async def _all(ours: Ours, requests: Sequence[GenerateRequest]) -> list[Outcome]:
    began = time.perf_counter()
    return await asyncio.gather(*(ours.ask(request, began=began) for request in requests))
