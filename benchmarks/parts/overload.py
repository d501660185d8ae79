"""Four times the load the engine can take, for a minute, from four departments of which one floods.

First the saturation throughput (more waiting than can run, all the time) and the time to first token at
half of it; then the overload, with a limit on the predicted wait as an operator would set it: the 95th
percentile at half load. It owns the verdict on loss, goodput, fairness and waiting.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, say
from benchmarks.parts.load import Sent, fair_shares, schedule, send
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours
from benchmarks.sides.workload import contexts

_OVERLOAD = {"d0": 2.2, "d1": 0.8, "d2": 0.6, "d3": 0.4}
"""Offered load of each department in parts of what the engine can take: four times it in all."""
_PROMPT_TOKENS, _NEW_TOKENS = (16, 48), (8, 24)
_FILL_S = 10.0
"""The overload begins so long before what is counted: a batch is full then, and its answers of all ages."""
_QUEUE_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of a load in which is counted, in seconds after its start."""

    start_s: float
    stop_s: float

    def holds(self, at_s: float) -> bool:
        """Whether a moment is in it."""
        return self.start_s <= at_s <= self.stop_s


def run(bench: Bench) -> Iterator[Figure]:
    """Yield saturation, half load and overload."""
    seconds, fill_s, burst = (3.0, 1.0, 24) if bench.quick else (60.0, _FILL_S, 192)
    calls = _calls(bench)
    with Ours.open(bench.folder, bench.versions, prefix_cache_mb=0) as ours:
        saturated = send(ours, calls, [(0.0, f"d{n % len(_OVERLOAD)}") for n in range(burst)])
        capacity = saturation(saturated)
        say(f"saturation: {capacity:.2f} requests/s")
        half = send(ours, calls, schedule(_loads(capacity / 2, even=True), seconds, seed=21))
        half_p95 = p95(half)
        say(f"half load: p95 of the time to first token {half_p95:.2f} s")
    with Ours.open(
        bench.folder, bench.versions, queue_length=_QUEUE_LENGTH, max_wait_s=half_p95, prefix_cache_mb=0
    ) as ours:
        send(ours, calls, [(0.0, "d0")] * 8)
        sent = send(ours, calls, schedule(_loads(capacity, even=False), fill_s + seconds, seed=22))
    yield bench.figure("overload_saturation", capacity, "requests/s")
    yield bench.figure("overload_half_load_p95_first_token", half_p95, "s")
    yield from _figures(bench, sent, capacity, Window(fill_s, fill_s + seconds), half_p95)


def _figures(
    bench: Bench, sent: Sequence[Sent], capacity: float, window: Window, half_p95: float
) -> Iterator[Figure]:
    ends = Counter(each.end for each in sent)
    yield bench.figure("overload_sent", len(sent), "requests")
    yield bench.figure("overload_served", ends["served"], "requests")
    yield bench.figure("overload_refused", ends["refused"], "requests")
    yield bench.figure("overload_lost", ends["lost"], "requests", at_most=0)
    untimed = ends["refused without a time"]
    yield bench.figure("overload_refused_without_retry_after", untimed, "requests", at_most=0)
    yield bench.figure(
        "overload_goodput_to_saturation", goodput(sent, window) / capacity, "share", at_least=0.9
    )
    for department, share in shares(sent, window).items():
        yield bench.figure(f"overload_share_{department}", share, "share of its fair share")
    smallest = min(shares(sent, window).values())
    yield bench.figure("overload_smallest_share", smallest, "share of its fair share", at_least=0.8)
    yield bench.figure("overload_p95_first_token", p95(sent), "s")
    yield bench.figure("overload_p95_first_token_to_half_load", p95(sent) / half_p95, "ratio", at_most=3.0)


def saturation(sent: Sequence[Sent]) -> float:
    """Return requests a second while there was more waiting than could run.

    All were sent at once; the first and the last batch's worth, in which the engine fills and drains,
    are left out of the count and of the time.
    """
    ends = sorted(each.end_s for each in sent)
    edge = len(ends) // 6
    return (len(ends) - 2 * edge) / (ends[-1 - edge] - ends[edge - 1])


def goodput(sent: Sequence[Sent], window: Window) -> float:
    """Return requests a second served whole in a stretch of the load."""
    ended = sum(each.end == "served" and window.holds(each.end_s) for each in sent)
    return ended / (window.stop_s - window.start_s)


def shares(sent: Sequence[Sent], window: Window) -> dict[str, float]:
    """Return what each department was served of its max-min fair share of tokens, in that stretch."""
    served: Counter[str] = Counter()
    offered: Counter[str] = Counter()
    for each in sent:
        offered[each.department] += each.tokens * window.holds(each.at_s)
        served[each.department] += each.tokens * (each.end == "served" and window.holds(each.end_s))
    fair = fair_shares(offered, served.total())
    return {department: served[department] / (fair[department] or 1) for department in sorted(fair)}


def p95(sent: Sequence[Sent]) -> float:
    """95th percentile of the time to first token of what was served, in seconds."""
    return float(np.percentile([each.wait_s for each in sent if each.end == "served"], 95))


def _loads(capacity: float, *, even: bool) -> Mapping[str, float]:
    if even:
        return dict.fromkeys(_OVERLOAD, capacity / len(_OVERLOAD))
    return {department: capacity * load for department, load in _OVERLOAD.items()}


def _calls(bench: Bench) -> list[Call]:
    """Short questions to all adapters: enough of them in a minute on a slow machine."""
    calls = contexts(bench.texts, 64, new_tokens=0, lengths=_PROMPT_TOKENS, seed=20)
    count = random.Random(20)
    return [
        Call(tokens=call.tokens, new_tokens=count.randint(*_NEW_TOKENS), adapter=number % len(bench.versions))
        for number, call in enumerate(calls)
    ]
