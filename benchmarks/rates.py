"""What this machine can do at most: products a second in each dtype, bytes copied a second.

It owns the measurement that floors stand on; it refuses to read specifications.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_SIZE, _COPY_BYTES = 1024, 256 << 20
_GPU_SIZE, _GPU_COPY_BYTES = 8192, 4 << 30
_ROUNDS, _ENOUGH_S = 5, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Measured peaks: operations a second (a multiply-add is two) and bytes read plus written a second."""

    float32: float
    bfloat16: float
    copy: float

    @classmethod
    def measure(cls, device: str = "cpu") -> Rates:
        """Take the best round of each, with as many threads as torch has."""
        return cls(
            float32=_matmul(torch.float32, device),
            bfloat16=_matmul(torch.bfloat16, device),
            copy=_copy(device),
        )

    def of(self, dtype: str) -> float:
        """Operations a second in the dtype that a side says it decodes in."""
        return self.bfloat16 if "bfloat16" in dtype.split("decode")[-1] else self.float32


def width(dtype: str) -> int:
    """Bytes of a weight in the dtype that a side says it decodes in."""
    return 2 if "bfloat16" in dtype.split("decode")[-1] else 4


def has_amx() -> bool:
    """Whether this processor has matrix tiles for bf16."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8").split()


def _matmul(dtype: torch.dtype, device: str) -> float:
    size = _SIZE if device == "cpu" else _GPU_SIZE
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _shortest(lambda: torch.nn.functional.linear(one, other), device)


def _copy(device: str) -> float:
    size = _COPY_BYTES if device == "cpu" else _GPU_COPY_BYTES
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _shortest(lambda: target.copy_(source), device)


def _shortest(work: Callable[[], object], device: str) -> float:
    """Seconds of the fastest round; the first one is thrown away. Slow work is given fewer rounds."""
    rounds: list[float] = []
    while len(rounds) < 2 or (len(rounds) <= _ROUNDS and sum(rounds) < _ENOUGH_S):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        rounds.append(time.perf_counter() - began)
    return min(rounds[1:])
