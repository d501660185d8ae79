"""Which arithmetic this machine runs fastest.

It owns device and dtype choice by a short measurement (fp32 against bf16, with the model's own shapes);
it refuses to assume: with AMX bf16 is about four times as fast, without it several times slower.
"""

from __future__ import annotations

import time
from functools import cache

import torch

_ROWS_PREFILL, _ROWS_DECODE = 32, 1
_FASTER_BY = 1.15


def choose_device(wanted: str) -> str:
    """`auto` is a GPU where torch sees one, else the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_dtype(wanted: str, device: str, hidden: int, intermediate: int) -> torch.dtype:
    """Return the dtype to run in.

    Args:
        wanted: `float32`, `bfloat16`, or `auto`: bf16 on a GPU, on a CPU only where it is clearly faster.
        hidden, intermediate: sizes of the model's largest products.
    """
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    if device != "cpu":
        return torch.bfloat16
    slow, fast = (_seconds(dtype, hidden, intermediate) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if slow > fast * _FASTER_BY else torch.float32


@cache
def _seconds(dtype: torch.dtype, hidden: int, intermediate: int) -> float:
    """Time of a prefill of 512 tokens and 64 decode steps, scaled up from one small product of each."""
    weights = [torch.randn(intermediate, hidden, dtype=dtype) for _ in range(4)]
    return 16 * _product(_ROWS_PREFILL, weights) + 64 * _product(_ROWS_DECODE, weights)


def _product(rows: int, weights: list[torch.Tensor]) -> float:
    """Shortest of three rounds, the first one thrown away: it pays for packing."""
    inputs = torch.randn(rows, weights[0].shape[1], dtype=weights[0].dtype)
    rounds = []
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            for weight in weights:
                torch.nn.functional.linear(inputs, weight)
            rounds.append(time.perf_counter() - began)
    return min(rounds[1:])
