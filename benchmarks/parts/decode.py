"""How long a decode step takes: this engine with and without adapters, transformers beside it, the floor.

All prompts are computed before the clock starts (kept from a first run, on both sides), so that every
request decodes all the time. It owns the ratios of steps; throughput is `end_to_end`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.figures import Figure
from benchmarks.parts import floor
from benchmarks.parts.bench import Bench, Rounds, alternate, apart, free, say
from benchmarks.parts.floor import Size
from benchmarks.parts.trial import Tried, better
from benchmarks.sides.base import Call, Record
from benchmarks.sides.ours import Ours
from benchmarks.sides.with_transformers import Generate, Prefilled
from benchmarks.sides.workload import CONTEXT_TOKENS, contexts, mixed


def run(bench: Bench) -> Iterator[Figure]:
    """Yield steps, their ratios, and the share of the floor that is reached."""
    rows, lengths, rounds = (4, (24, 32), 1) if bench.quick else (32, CONTEXT_TOKENS, 7)
    calls = contexts(bench.texts, rows, new_tokens=16 if bench.quick else 32, lengths=lengths)
    yield from _one(bench, calls[:1], rounds)
    theirs = apart(lambda: better(bench, partial(Generate, bench.folder), calls, computed=True))
    yield from _trial(bench, theirs, "batch_32")
    jobs = {"ours": calls, "ours_1_adapter": mixed(calls, 1), "ours_8_adapters": mixed(calls, 8)}
    kept_mb = Size.read(bench.folder).kept_mb([call for own in jobs.values() for call in own])
    with Ours.open(bench.folder, bench.versions, prefix_cache_mb=kept_mb) as ours:
        for name, own in jobs.items():
            say(f"{name}: prompts are computed and kept")
            ours.run_again(own)
        prefilled = apart(lambda: Prefilled(theirs.side, calls))
        sides = {name: partial(ours.run_again, own) for name, own in jobs.items()}
        measured = alternate({**sides, "transformers": lambda: apart(prefilled.run)}, rounds)
        dtype = ours.dtype
    free()
    yield from _figures(
        bench,
        measured,
        ("8_adapters_to_base", "ours", "ours_8_adapters", 0.8, 0.9),
        ("1_adapter_to_base", "ours", "ours_1_adapter", 0.88, 0.95),
        ("base_to_transformers", "transformers", "ours", 1.3, None),
    )
    step_s = measured.median("ours_8_adapters", _step)
    yield from floor.figures(bench, mixed(calls, 8), dtype, step_s, "8_adapters")
    yield from floor.figures(bench, calls, dtype, measured.median("ours", _step), "base")


def _one(bench: Bench, call: Sequence[Call], rounds: int) -> Iterator[Figure]:
    """One request alone. Each side too: an idle engine's threads would slow transformers, and the reverse."""
    theirs = apart(lambda: better(bench, partial(Generate, bench.folder), call, computed=True))
    yield from _trial(bench, theirs, "batch_1")

    def ours() -> Record:
        with Ours.open(bench.folder, prefix_cache_mb=Size.read(bench.folder).kept_mb(call)) as engine:
            engine.run_again(call)
            return engine.run_again(call)

    prefilled = apart(lambda: Prefilled(theirs.side, call))
    sides = {"ours_batch_1": ours, "transformers_batch_1": lambda: apart(prefilled.run)}
    yield from _figures(
        bench,
        alternate(sides, rounds),
        ("batch_1_to_transformers", "transformers_batch_1", "ours_batch_1", 1.2, None),
    )
    yield Figure(
        figure="decode_speed_batch_1_to_llama_cpp",
        value=None,
        unit="ratio",
        aim=1.0,
        skipped="llama.cpp is no side of this benchmark: it has no build that installs everywhere",
    )


def _trial(bench: Bench, tried: Tried[Generate], name: str) -> Iterator[Figure]:
    for dtype, seconds in tried.seconds.items():
        yield bench.figure(f"decode_trial_transformers_{name}_{dtype}", seconds, "s")


def _figures(
    bench: Bench, measured: Rounds, *ratios: tuple[str, str, str, float, float | None]
) -> Iterator[Figure]:
    """Yield every side's step, then ratios of two: name, the slower, the faster, bar and aim."""
    for name in measured.records:
        yield bench.figure(f"decode_step_{name}", 1000 * measured.median(name, _step), "ms")
    for name, one, other, bar, aim in ratios:
        speed = measured.ratio(one, other, _step)
        yield bench.figure(f"decode_speed_{name}", speed, "ratio", at_least=bar, aim=aim)


def _step(record: Record) -> float:
    return record.step_s
