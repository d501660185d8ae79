"""What reuse of a shared system prompt gains: 200 tokens in front of every context, eight adapters.

It owns that one comparison, of this engine with itself: once as every request's own, once as public.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from assistant.engine.base import GenerateRequest, Sampling
from assistant.engine.chat import ChatTokenizer
from assistant.types import Message
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, say
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours, Outcome
from benchmarks.sides.workload import CONTEXT_TOKENS, contexts, mixed

_SYSTEM_TOKENS = 200


def run(bench: Bench) -> Iterator[Figure]:
    """Yield the gain of the first round, in which each adapter's prefix is computed, and of the next."""
    rows, lengths = (4, (24, 32)) if bench.quick else (32, CONTEXT_TOKENS)
    tokenizer = ChatTokenizer(bench.folder)
    system = tokenizer.decode(bench.texts.window(_SYSTEM_TOKENS))
    calls = contexts(bench.texts, rows, new_tokens=8 if bench.quick else 64, lengths=lengths)
    calls = mixed(calls, len(bench.versions))
    users = [tokenizer.decode(call.tokens) for call in calls]
    seconds = {}
    with Ours.open(bench.folder, bench.versions, prefix_cache_mb=1024) as ours:
        for name, public in (("own", 0), ("public", 1), ("public_again", 1)):
            requests = [
                _request(ours, call, system, user, public) for call, user in zip(calls, users, strict=True)
            ]
            seconds[name], outcomes = _time(ours, requests)
            reused = sum(outcome.reused for outcome in outcomes) / sum(
                outcome.deltas[-1].prompt_tokens for outcome in outcomes
            )
            say(f"system prompt {name}: {seconds[name]:.1f} s")
            yield bench.figure(f"prefix_{name}_reused", reused, "share of prompt tokens")
            yield bench.figure(f"prefix_{name}", seconds[name], "s")
    yield bench.figure("prefix_gain", seconds["own"] / seconds["public"], "ratio")
    yield bench.figure("prefix_gain_again", seconds["own"] / seconds["public_again"], "ratio")


def _request(ours: Ours, call: Call, system: str, user: str, public: int) -> GenerateRequest:
    messages = (Message(role="system", content=system), Message(role="user", content=user))
    return ours.request(
        call,
        tokens=(),
        messages=messages,
        public_messages=public,
        sampling=Sampling(max_tokens=call.new_tokens),
    )


def _time(ours: Ours, requests: Sequence[GenerateRequest]) -> tuple[float, list[Outcome]]:
    began = time.perf_counter()

    async def together() -> list[Outcome]:
        return await asyncio.gather(*(ours.ask(request, began=began) for request in requests))

    outcomes = ours.wait(together())
    return time.perf_counter() - began, outcomes
