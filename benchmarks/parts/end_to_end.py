"""Throughput of the whole work: 32 contexts of about 380 tokens at once, 64 new tokens each.

Sides: this engine without and with eight adapters; transformers and vLLM without adapters; PEFT's mixed
batch and vLLM with the same eight. It owns the ratios of end-to-end times. Every side is in its better
dtype by trial, and vLLM says why where it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from assistant.types import AdapterVersion
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, Rounds, alternate, apart, free
from benchmarks.parts.floor import Floor, Size
from benchmarks.parts.trial import better, dtypes, predict, warm
from benchmarks.sides.base import Call, Record, Side
from benchmarks.sides.ours import Ours
from benchmarks.sides.with_peft import Mixed
from benchmarks.sides.with_transformers import Generate
from benchmarks.sides.with_vllm import NoServer, Served
from benchmarks.sides.workload import CONTEXT_TOKENS, contexts, mixed

_PEFT_BAR, _PEFT_BAR_AMX = (1.6, 2.5), (2.7, 3.5)
_LONGEST_S = 120.0
"""A vLLM server whose one round would take longer is measured once, before the rounds."""


def run(bench: Bench) -> Iterator[Figure]:
    """Yield throughputs and their ratios."""
    rows, lengths, rounds = (4, (24, 32), 1) if bench.quick else (32, CONTEXT_TOKENS, 3)
    calls = contexts(bench.texts, rows, new_tokens=8 if bench.quick else 64, lengths=lengths)
    adapted = mixed(calls, len(bench.versions))
    with ExitStack() as stack:
        vllm = _Vllm(bench, calls, adapted, stack)
        yield from vllm.figures
        theirs = apart(lambda: better(bench, partial(Generate, bench.folder), calls))
        peft = apart(lambda: better(bench, partial(Mixed, bench.folder, bench.versions), adapted))
        for tried in (theirs, peft):
            for dtype, seconds in tried.seconds.items():
                yield bench.figure(f"end_to_end_trial_{_kind(tried.side)}_{dtype}", seconds, "s")
        ours = stack.enter_context(Ours.open(bench.folder, bench.versions, prefix_cache_mb=0))
        sides: dict[str, Callable[[], Record]] = {
            "ours_base": lambda: ours.run(calls),
            "ours_8_adapters": lambda: ours.run(adapted),
            "transformers_base": lambda: apart(lambda: theirs.side.run(calls)),
            "peft_8_adapters": lambda: apart(lambda: peft.side.run(adapted)),
            **vllm.sides,
        }
        warm(ours, adapted)
        measured = alternate(sides, rounds)
    free()
    yield from _figures(bench, Rounds({**measured.records, **vllm.once}), rounds)
    for name, work in (("base", calls), ("8_adapters", adapted)):
        least = Floor.whole(Size.read(bench.folder), work).seconds(bench.rates, ours.dtype)
        tokens = sum(call.new_tokens for call in work)
        yield bench.figure(f"end_to_end_floor_{name}", tokens / least, "tokens/s")
        share = measured.median(f"ours_{name}", _rate) * least / tokens
        yield bench.figure(f"end_to_end_floor_{name}_share_reached", share, "share")


def _figures(bench: Bench, measured: Rounds, rounds: int) -> Iterator[Figure]:
    for name in measured.records:
        yield bench.figure(f"end_to_end_{name}", measured.median(name, _rate), "tokens/s")
        yield bench.figure(f"end_to_end_{name}_first", measured.median(name, lambda r: r.first_s), "s")
        if len(measured.records[name]) != rounds:
            yield bench.figure(f"end_to_end_{name}_rounds", len(measured.records[name]), "count")
    peft_bar, peft_aim = _PEFT_BAR_AMX if bench.amx else _PEFT_BAR
    for name, one, other, bar, aim in (
        ("8_adapters_to_peft", "ours_8_adapters", "peft_8_adapters", peft_bar, peft_aim),
        ("base_to_transformers", "ours_base", "transformers_base", 1.1, 1.4),
        ("8_adapters_to_base", "ours_8_adapters", "ours_base", None, None),
        ("8_adapters_to_vllm_lora", "ours_8_adapters", "vllm_lora", 4.0, None),
        ("8_adapters_to_vllm_base", "ours_8_adapters", "vllm_base", None, 1.0),
    ):
        if other in measured.records:
            gain = _ratio(measured, one, other, rounds)
            yield bench.figure(f"end_to_end_{name}", gain, "ratio", at_least=bar, aim=aim)


def _ratio(measured: Rounds, one: str, other: str, rounds: int) -> float:
    """Ratio of throughputs: by rounds, or of medians where the other side ran once."""
    if len(measured.records[other]) == rounds:
        return measured.ratio(one, other, _rate)
    return measured.median(one, _rate) / measured.median(other, _rate)


class _Vllm:
    """The two vLLM servers, in the dtype that is faster here, or the reason why there are none."""

    def __init__(
        self, bench: Bench, calls: Sequence[Call], adapted: Sequence[Call], stack: ExitStack
    ) -> None:
        self.sides: dict[str, Callable[[], Record]] = {}
        self.once: dict[str, list[Record]] = {}
        self.figures: list[Figure] = []
        self._bench, self._stack = bench, stack
        for name, versions, work in (("lora", bench.versions, adapted), ("base", (), calls)):
            self._add(name, versions, work)

    def _add(self, name: str, versions: Sequence[AdapterVersion], work: Sequence[Call]) -> None:
        if self._bench.quick:
            return self._skip(name, "a quick run leaves it out")
        trials: dict[str, float] = {}
        reasons = []
        for dtype in dtypes(self._bench):
            try:
                with self._serve(versions, dtype, len(work)) as server:
                    trials[dtype] = predict(self._bench, server, work)
            except NoServer as reason:
                reasons.append(str(reason))
        for dtype, seconds in trials.items():
            self.figures.append(self._bench.figure(f"end_to_end_trial_vllm_{name}_{dtype}", seconds, "s"))
        if not trials:
            return self._skip(name, "; ".join(dict.fromkeys(reasons)))
        best = min(trials, key=lambda dtype: trials[dtype])
        server = self._serve(versions, best, len(work))
        if trials[best] > _LONGEST_S:
            with server:
                self.once[f"vllm_{name}"] = [server.run(work)]
        else:
            self._stack.enter_context(server)
            self.sides[f"vllm_{name}"] = partial(server.run, work)
        return None

    def _skip(self, name: str, reason: str) -> None:
        figure = f"end_to_end_8_adapters_to_vllm_{name}"
        self.figures.append(Figure(figure=figure, value=None, unit="ratio", skipped=reason))

    def _serve(self, versions: Sequence[AdapterVersion], dtype: str, rows: int) -> Served:
        log = self._bench.out / f"vllm-{dtype}.log"
        return Served(self._bench.folder, versions, dtype, log=log, rows=rows)


def _kind(side: Side) -> str:
    return side.name.split("_")[0]


def _rate(record: Record) -> float:
    return record.tokens_per_s
