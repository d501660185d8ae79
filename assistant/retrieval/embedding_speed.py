"""How to embed fastest on this machine: dtype, weight layout and batch size, found by trying.

The best choice is a property of the machine, not of the model alone: bfloat16 wins only with matrix units,
small batches where caches are small. It owns the measurement, well under a second on one layer of the
model's size with random numbers, and the file it is remembered in. It refuses lossier arithmetic than
bfloat16, and does not measure how many threads a worker should have: one, as docs/ingest.md shows.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar, get_args

import torch

from assistant.retrieval.encoder import Layer
from assistant.retrieval.workers import Workers

Dtype = Literal["float32", "bfloat16"]
Way = TypeVar("Way")
BATCHES = (128, 256, 512, 1024)
_TEXT_TOKENS = 128
_ROUNDS = 3
_LONG_S = 0.1
_BFLOAT16_FASTER_BY = 1.3  # it costs a little precision, so it has to earn it
_CLOSE = 1.03  # the smallest batch within this of the best is taken


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
    key = f"{_machine()} {'/'.join(dtypes)} {shape.width}x{shape.inner}x{shape.heads} {shape.threads} threads"
    known = _remembered(file)
    if key in known:
        return known[key]
    found = measured(shape, tuple(dtypes))
    if file is not None:
        _remember(file, {**known, key: found})
    return found


@cache
def measured(shape: Shape, dtypes: tuple[Dtype, ...]) -> Speed:
    """Time one layer in every way that this build of torch can do, as a worker would run it."""
    worker = Workers(1)
    try:
        (speed,) = worker.map(lambda ways: _measured(shape, ways), [dtypes])
    finally:
        worker.close()
    return speed


def _measured(shape: Shape, dtypes: Sequence[Dtype]) -> Speed:
    layers = {
        (dtype, prepacked): layer
        for dtype in dtypes
        for prepacked in (False, True)
        if (layer := _layer(shape, dtype, prepacked)) is not None
    }
    with torch.inference_mode():
        seconds = _seconds({way: _work(layer, _TEXT_TOKENS) for way, layer in layers.items()})
        costs = {way: s * (_BFLOAT16_FASTER_BY if way[0] == "bfloat16" else 1) for way, s in seconds.items()}
        dtype, prepacked = min(costs, key=lambda way: costs[way])
        batch = _batch(layers[dtype, prepacked])
    return Speed(dtype=dtype, prepacked=prepacked, batch_tokens=batch, workers=shape.threads)


def _batch(layer: Layer) -> int:
    """Return the smallest size that is about as good as the best, per token; slow machines try fewer."""
    per_token: dict[int, float] = {}
    for tokens in BATCHES:
        seconds = _seconds({tokens: _work(layer, tokens)})[tokens]
        per_token[tokens] = seconds / tokens
        if seconds > _LONG_S:
            break
    limit = min(per_token.values()) * _CLOSE
    return next(tokens for tokens, cost in per_token.items() if cost <= limit)


def _work(layer: Layer, tokens: int) -> Callable[[], object]:
    states = torch.randn(tokens, layer.width).to(layer.dtype)
    lengths = [_TEXT_TOKENS] * (tokens // _TEXT_TOKENS)
    return lambda: layer(states, lengths)


def _layer(shape: Shape, dtype: Dtype, prepacked: bool) -> Layer | None:
    """Make a layer of random numbers; None where this build or processor cannot run it."""
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
        layer = Layer(table, "", shape.heads, 1e-12, prepacked)
        with torch.inference_mode():
            layer(random(2, shape.width), [2])
    except (AttributeError, RuntimeError):  # no such operators; no such instructions
        return None
    return layer


def _seconds(works: dict[Way, Callable[[], object]]) -> dict[Way, float]:
    """Time each in alternating rounds and keep its best; what is far behind is not tried again."""
    best: dict[Way, float] = {}
    for _ in range(_ROUNDS):
        for way, work in works.items():
            if way in best and best[way] > 3 * min(best.values()) and len(best) == len(works):
                continue
            start = time.perf_counter()
            work()
            best[way] = min(best.get(way, float("inf")), time.perf_counter() - start)
    return best


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
