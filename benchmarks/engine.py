"""The engine: many departments in one batch, beside transformers, PEFT and vLLM on the same machine.

Every part answers one question and can be run alone (`--only decode,end_to_end`); all of them take most
of an hour on two slow cores. `--gpu` runs the one part that wants a CUDA GPU instead. vLLM is asked in an
environment of its own, which `make test-vllm` makes (or `VLLM_PYTHON` names).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from assistant.config import load
from assistant.models.pull import located
from benchmarks.figures import Figure, Options
from benchmarks.parts import (
    arrivals,
    cold,
    decode,
    end_to_end,
    exact,
    gap,
    mixes,
    on_gpu,
    overload,
    prefix,
)
from benchmarks.parts.bench import Bench, apart, free, say
from benchmarks.rates import Rates, has_amx
from benchmarks.sides import adapters
from benchmarks.sides.adapters import Shape
from benchmarks.sides.workload import Texts, endless

ROOT = Path(__file__).parents[1]
PARTS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "decode": decode.run,
    "end_to_end": end_to_end.run,
    "prefix": prefix.run,
    "arrivals": arrivals.run,
    "mixes": mixes.run,
    "gap": gap.run,
    "exact": exact.run,
    "overload": overload.run,
    "cold": cold.run,
}
GPU_PARTS: dict[str, Callable[[Bench], Iterator[Figure]]] = {"gpu": on_gpu.run}


def run(options: Options) -> Iterator[Figure]:
    """Yield this machine's rates, then the figures of every part that is asked for."""
    settings = load(ROOT / "assistant.yaml")
    with tempfile.TemporaryDirectory() as name:
        model = located(settings.models.base, settings)
        bench = apart(lambda: ground(model, Path(name), quick=options.quick))
        yield from machine(bench)
        parts = GPU_PARTS if options.gpu else PARTS
        for part in options.only or parts:
            say(f"part {part}")
            yield from parts[part](bench)
            free()


def ground(model: Path, out: Path, *, quick: bool) -> Bench:
    """Lay out what all parts stand on: the model without an end, adapters, texts, this machine's rates."""
    folder = endless(model, out / "model")
    return Bench(
        folder=folder,
        versions=tuple(adapters.write(folder, out / "adapters", [Shape()] * 8)),
        texts=Texts.read(folder),
        out=out,
        rates=Rates.measure(),
        amx=has_amx(),
        quick=quick,
    )


def machine(bench: Bench) -> Iterator[Figure]:
    """Yield what the machine can do at most."""
    yield bench.figure("machine_amx", bench.amx, "flag")
    yield bench.figure("machine_matmul_float32", bench.rates.float32 / 1e9, "GFLOP/s")
    yield bench.figure("machine_matmul_bfloat16", bench.rates.bfloat16 / 1e9, "GFLOP/s")
    yield bench.figure("machine_copy", bench.rates.copy / 1e9, "GB/s")
