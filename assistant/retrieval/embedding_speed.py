"""How to embed fastest on this machine: dtype, weight layout and batch size, found by trying.

The best choice is a property of the machine, not of the model alone: bfloat16 wins only where the processor
multiplies it (AMX, some with AVX-512), small batches where caches are small. It owns the measurement, a
second or two on a few layers of the model's size with random numbers, on all workers at once as they will
run, and the file it is remembered in. It refuses lossier arithmetic than bfloat16, and does not measure how
many threads a worker should have: one, as docs/ingest.md shows.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Literal, TypeVar, get_args

import torch

from assistant.retrieval.encoder import Layer
from assistant.retrieval.workers import Workers

Dtype = Literal["float32", "bfloat16"]
Way = TypeVar("Way")
BATCHES = (128, 256, 512, 1024)
_TYPICAL = 256  # the batch with which dtypes and layouts are compared
_TEXT_TOKENS = 100  # about a chunk; small batches are seldom full, and cost accordingly
_LAYERS = 3  # in turn: a layer's weights are no more in the cache when it is its turn again
_ROUNDS = 3
_LONG_S = 0.1
_BFLOAT16_FASTER_BY = 1.3  # it costs a little precision, so it has to earn it
_CLOSE = 1.01  # the smallest batch within this of the best is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a model decides its speed, and how many threads there are."""

    width: int
    inner: int
    heads: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """A way to embed. `batch_tokens` are computed together; `workers` do so side by side."""

    dtype: Dtype = "float32"
    prepacked: bool = False
    batch_tokens: int = 1024
    workers: int = 1


def fastest(shape: Shape, file: Path | None = None, *, dtypes: Sequence[Dtype] = get_args(Dtype)) -> Speed:
    """Return what is fastest here, as remembered in `file` or measured.

    Args:
        file: JSON, one entry for each machine and shape; an unreadable one is written anew.
    """
    key = f"{_machine()} {'/'.join(dtypes)} {shape.width}x{shape.inner}x{shape.heads} {shape.threads} workers"
    known = _remembered(file)
    if key in known:
        return known[key]
    found = measured(shape, tuple(dtypes))
    if file is not None:
        _remember(file, {**known, key: found})
    return found


@cache
def measured(shape: Shape, dtypes: tuple[Dtype, ...]) -> Speed:
    """Time a layer in every way that this build of torch can do, as the workers will run it."""
    workers = Workers(shape.threads)
    try:
        return _measured(shape, dtypes, workers)
    finally:
        workers.close()


def _measured(shape: Shape, dtypes: Sequence[Dtype], workers: Workers) -> Speed:
    layers = {
        (dtype, prepacked): made
        for dtype in dtypes
        for prepacked in (False, True)
        if (made := _layers(shape, dtype, prepacked))
    }
    seconds = _seconds({way: _work(made, _TYPICAL) for way, made in layers.items()}, workers)
    costs = {way: s * (_BFLOAT16_FASTER_BY if way[0] == "bfloat16" else 1) for way, s in seconds.items()}
    dtype, prepacked = min(costs, key=lambda way: costs[way])
    batch = _batch(layers[dtype, prepacked], workers)
    return Speed(dtype=dtype, prepacked=prepacked, batch_tokens=batch, workers=shape.threads)


def _batch(layers: Sequence[Layer], workers: Workers) -> int:
    """Return the smallest size that is about as good as the best, per text; slow machines try fewer."""
    per_text: dict[int, float] = {}
    for tokens in BATCHES:
        seconds = _seconds({tokens: _work(layers, tokens)}, workers)[tokens]
        per_text[tokens] = seconds / len(_texts(tokens))
        if seconds > _LONG_S:
            break
    limit = min(per_text.values()) * _CLOSE
    return next(tokens for tokens, cost in per_text.items() if cost <= limit)


def _texts(tokens: int) -> list[int]:
    return [_TEXT_TOKENS] * (tokens // _TEXT_TOKENS)


def _work(layers: Sequence[Layer], tokens: int) -> Callable[[], object]:
    lengths = _texts(tokens)
    states = torch.randn(sum(lengths), layers[0].width).to(layers[0].dtype)
    turns = cycle(layers)

    def work() -> object:
        with torch.inference_mode():
            return next(turns)(states, lengths)

    return work


def _layers(shape: Shape, dtype: Dtype, prepacked: bool) -> list[Layer]:
    """Make layers of random numbers; none where this build or processor cannot run them."""
    chance = torch.Generator().manual_seed(1)

    def random(*size: int) -> torch.Tensor:
        numbers = torch.randn(*size, generator=chance) / shape.width**0.5
        return torch.as_tensor(numbers, dtype=torch.bfloat16 if dtype == "bfloat16" else torch.float32)

    wide = {
        "intermediate.dense": (shape.inner, shape.width),
        "output.dense": (shape.width, shape.inner),
        "attention.output.dense": (shape.width, shape.width),
        **{f"attention.self.{name}": (shape.width, shape.width) for name in ("query", "key", "value")},
    }
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    table = {f"{name}.weight": random(*size) for name, size in wide.items()}
    table |= {f"{name}.bias": random(size[0]) for name, size in wide.items()}
    table |= {f"{name}.{part}": random(shape.width) for name in norms for part in ("weight", "bias")}
    try:
        layers = [Layer(table, "", shape.heads, 1e-12, prepacked) for _ in range(_LAYERS)]
        with torch.inference_mode():
            layers[0](random(2, shape.width), [2])
    except (AttributeError, RuntimeError):  # no such operators; no such instructions
        return []
    return layers


def _seconds(works: dict[Way, Callable[[], object]], workers: Workers) -> dict[Way, float]:
    """Time each on all workers at once, in alternating rounds; keep its best, drop what is far behind."""
    best: dict[Way, float] = {}
    for _ in range(_ROUNDS):
        for way, work in works.items():
            if way in best and best[way] > 3 * min(best.values()) and len(best) == len(works):
                continue
            best[way] = min(best.get(way, float("inf")), _timed(work, workers))
    return best


def _timed(work: Callable[[], object], workers: Workers) -> float:
    start = time.perf_counter()
    list(workers.map(lambda _: work(), range(workers.count)))
    return time.perf_counter() - start


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    named = {key.strip(): value for key, value in fields.items()}
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in named.get("flags", "")]
    name = named.get("model name", platform.processor()).strip()
    return f"{name} {' '.join(wide)} torch {torch.__version__}"


def _remembered(file: Path | None) -> dict[str, Speed]:
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file else {}
        return {key: Speed(**speed) for key, speed in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(file: Path, speeds: dict[str, Speed]) -> None:
    """Write beside and swap; a folder that cannot be written costs the next start its measurement."""
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({key: asdict(speed) for key, speed in speeds.items()}, indent=2)
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(file)
    except OSError:
        return
