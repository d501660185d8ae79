"""Ingest end to end, beside LangChain's and LlamaIndex's usual pipelines on the same machine.

The others run in an environment of their own, which `make bench-baselines` makes (or `BASELINES_PYTHON`
names). Ours runs first and last, so that a machine that drifts is seen; rates are tokens embedded a second,
from files on disk to an index that can be searched, models loaded. All of it takes most of an hour on two
slow cores; `--quick` a few minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from assistant.config import load
from assistant.models.pull import located
from benchmarks.figures import Figure, Options
from benchmarks.ingesting import child, corpus
from benchmarks.ingesting.child import Ended
from benchmarks.rates import has_amx

ROOT = Path(__file__).parents[1]
SIDES = ("langchain", "llamaindex")
_PEAK_MB = 1500.0
_GROWTH = 1.1
_WITHOUT_AMX, _WITH_AMX, _AIM = 1.8, 2.5, 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    data: Path
    files: list[Path]
    out: Path
    quick: bool


def run(options: Options) -> Iterator[Figure]:
    """Yield the figures of every part, or of those asked for."""
    try:
        files = corpus.files(options.data, quick=options.quick)
    except FileNotFoundError as error:
        yield Figure(figure="ingest", value=None, unit="ratio", skipped=str(error))
        return
    with tempfile.TemporaryDirectory() as name:
        ground = _Ground(data=options.data, files=files, out=Path(name), quick=options.quick)
        for part in options.only or PARTS:
            yield from PARTS[part](ground)


def beside(ground: _Ground) -> Iterator[Figure]:
    """Compare rates with both frameworks; ours also with itself, bare."""
    folder = corpus.copied(ground.files, ground.data, ground.out / "once")
    python = child.baselines()
    ours = [_ours(folder, ground.out / "ours-first")]
    others = {side: _other(str(python), side, folder, ours[0]) for side in SIDES if python}
    if not ground.quick:
        ours.append(_ours(folder, ground.out / "ours-last"))
    yield from _own(ours)
    for side in SIDES:
        if side in others:
            yield from _beside(side, others[side], ours)
        else:
            yield Figure(figure=f"ingest_vs_{side}", value=None, unit="ratio", skipped=child.NO_BASELINES)


def _beside(side: str, other: Ended, ours: list[Ended]) -> Iterator[Figure]:
    best = mean(map(_rate, ours))
    bar = _WITH_AMX if has_amx() else _WITHOUT_AMX
    yield _figure(f"ingest_vs_{side}", best / _rate(other), "ratio", at_least=bar, aim=_AIM)
    per_token = _number(other, "cpu_s") / _number(other, "tokens")
    own = _number(ours[-1], "cpu_s") / _number(ours[-1], "tokens")
    yield _figure(f"ingest_cpu_vs_{side}", per_token / own, "ratio")
    yield _figure(f"{side}_rate", _rate(other), "tokens/s")
    for stage in ("", "load_", "split_", "index_"):
        yield _figure(f"{side}_{stage}seconds", _number(other, f"{stage}seconds"), "s")
    yield _figure(f"{side}_tokens", _number(other, "tokens"), "tokens")
    yield _figure(f"{side}_longest_chunk", _number(other, "longest"), "tokens")
    yield _figure(f"{side}_peak_memory", other.peak_bytes / 1e6, "MB")


def memory(ground: _Ground) -> Iterator[Figure]:
    """Compare peak memory at once and five times the corpus, of the pipeline without a model."""
    peaks = []
    for times in (1, 5):
        folder = corpus.copied(ground.files, ground.data, ground.out / f"times-{times}", times=times)
        peaks.append(_ours(folder, ground.out / f"fake-{times}", "--fake").peak_bytes)
        yield _figure(f"ingest_peak_memory_fake_{times}x", peaks[-1] / 1e6, "MB")
    yield _figure("ingest_memory_growth_5x", peaks[1] / peaks[0], "ratio", at_most=_GROWTH)


def _own(ours: list[Ended]) -> Iterator[Figure]:
    last = ours[-1]
    seconds = mean(_number(one, "seconds") for one in ours)
    yield _figure("ingest_seconds", seconds, "s")
    yield _figure("ingest_rate", mean(map(_rate, ours)), "tokens/s")
    yield _figure("ingest_rate_last_to_first", _rate(ours[-1]) / _rate(ours[0]), "ratio")
    for name, unit in (("documents", "documents"), ("chunks", "chunks"), ("tokens", "tokens")):
        yield _figure(f"ingest_{name}", _number(last, name), unit)
    yield _figure("ingest_longest_chunk", _number(last, "longest"), "tokens", at_most=256)
    shares = [_rate(one) / _number(one, "bare_rate") for one in ours]
    yield _figure("ingest_vs_bare_embedder", mean(shares), "ratio", at_least=0.85)
    yield _figure("bare_embedder_rate", mean(_number(one, "bare_rate") for one in ours), "tokens/s")
    # what is left to gain by any arithmetic in the same dtype: products run at this share of a bare product's
    yield _figure("bare_embedder_to_matmul_rate", mean(_number(one, "matmul_share") for one in ours), "ratio")
    yield _figure(
        "ingest_cosine_to_float32", min(_number(one, "cosine") for one in ours), "cosine", at_least=0.98
    )
    peak = max(one.peak_bytes for one in ours)
    yield _figure("ingest_peak_memory", peak / 1e6, "MB", at_most=_PEAK_MB)
    yield _figure("ingest_second_run_chunks", _number(last, "second_chunks"), "chunks", at_most=0)
    again = mean(_number(one, "second_s") for one in ours) / seconds
    yield _figure("ingest_second_run_share", again, "ratio", at_most=0.03)


PARTS: dict[str, Callable[[_Ground], Iterator[Figure]]] = {"beside": beside, "memory": memory}


def _ours(folder: Path, workspace: Path, *more: str) -> Ended:
    workspace.mkdir()
    command = [sys.executable, "-m", "benchmarks.ingesting.ours", str(folder), str(workspace), *more]
    return child.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)})


def _other(python: str, side: str, folder: Path, ours: Ended) -> Ended:
    settings = load(ROOT / "assistant.yaml")
    model = located(settings.models.embedder, settings)
    script = Path(__file__).parent / "ingesting" / "baseline.py"
    size = settings.retrieval.chunk_tokens
    command = [python, str(script), side, str(folder), str(model)]
    command += ["--chunk-tokens", str(size), "--total-tokens", str(int(_number(ours, "tokens")))]
    return child.run_baseline(command)


def _rate(ended: Ended) -> float:
    return _number(ended, "tokens") / _number(ended, "seconds")


def _number(ended: Ended, name: str) -> float:
    return float(ended.said[name])


def _figure(
    name: str,
    value: float,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    aim: float | None = None,
) -> Figure:
    return Figure(figure=name, value=round(value, 4), unit=unit, at_least=at_least, at_most=at_most, aim=aim)
