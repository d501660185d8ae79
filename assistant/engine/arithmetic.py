"""Which arithmetic this machine runs fastest.

It owns the choice of device, dtype and weight packing by a short measurement with the model's own shapes;
it refuses to assume: bf16 is about four times as fast as fp32 with AMX, twice or not at all with AVX-512,
several times slower with neither, and packed weights win by a little or by several times.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from assistant.engine.product import Product, can_pack

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_LARGEST = 2048
_ROWS = {"prefill": 128, "decode": 8}
_TOKENS = {"prefill": 384, "decode": 64 * 8}
"""Tokens of a typical answer in each phase; decoding counts the rows of a small batch."""
_CLEARLY = 0.85
"""A second copy of the weights must take this share of one copy's time, or less."""

Phase = Literal["prefill", "decode"]
Prepack = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A dtype, and whether weights are kept in oneDNN's layout."""

    dtype: torch.dtype
    packed: bool

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')}{' packed' if self.packed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The arithmetic of each phase; where they are equal, the weights are there once."""

    prefill: Arithmetic
    decode: Arithmetic

    def __str__(self) -> str:
        if self.prefill == self.decode:
            return str(self.decode)
        return f"prefill {self.prefill}, decode {self.decode}"


def choose_device(wanted: str) -> str:
    """`auto` is a GPU where torch sees one, else the CPU."""
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose(wanted: str, prepack: Prepack, device: str, hidden: int, intermediate: int) -> Choice:
    """Return the arithmetic to run in.

    Args:
        wanted: `float32`, `bfloat16`, or `auto`: bf16 on a GPU, on a CPU what is measured to be fastest.
        prepack: likewise, for weights in oneDNN's layout (CPUs only).
        hidden, intermediate: sizes of the model's largest products.
    """
    if device != "cpu":
        one = Arithmetic(_DTYPES[wanted] if wanted != "auto" else torch.bfloat16, packed=False)
        return Choice(prefill=one, decode=one)
    candidates = [
        Arithmetic(dtype, packed) for dtype in _dtypes(wanted) for packed in _packing(prepack, dtype)
    ]
    if len(candidates) == 1:
        return Choice(prefill=candidates[0], decode=candidates[0])
    sizes = min(hidden, _LARGEST), min(intermediate, _LARGEST)
    return best({candidate: _seconds(candidate, *sizes) for candidate in candidates})


def best(seconds: dict[Arithmetic, dict[Phase, float]]) -> Choice:
    """Choose from measured times: one arithmetic for both phases unless two are clearly faster."""
    one = min(seconds, key=lambda each: sum(seconds[each].values()))
    prefill = min(seconds, key=lambda each: seconds[each]["prefill"])
    decode = min(seconds, key=lambda each: seconds[each]["decode"])
    apart = seconds[prefill]["prefill"] + seconds[decode]["decode"]
    if prefill.dtype != decode.dtype and apart < _CLEARLY * sum(seconds[one].values()):
        return Choice(prefill=prefill, decode=decode)
    return Choice(prefill=one, decode=one)


def _dtypes(wanted: str) -> tuple[torch.dtype, ...]:
    return tuple(_DTYPES.values()) if wanted == "auto" else (_DTYPES[wanted],)


def _packing(prepack: Prepack, dtype: torch.dtype) -> Iterator[bool]:
    if prepack != "on" or not can_pack(dtype):
        yield False
    if prepack != "off" and can_pack(dtype):
        yield True


@cache
def _seconds(arithmetic: Arithmetic, hidden: int, intermediate: int) -> dict[Phase, float]:
    """Time of a typical answer's tokens through one large product, by phase."""
    weights = [torch.randn(intermediate, hidden, dtype=arithmetic.dtype) for _ in range(2)]
    products = [Product([weight], packed=arithmetic.packed) for weight in weights]
    return {"prefill": _phase("prefill", products), "decode": _phase("decode", products)}


def _phase(phase: Phase, products: list[Product]) -> float:
    """Shortest of three rounds, the first one thrown away."""
    inputs = torch.randn(_ROWS[phase], products[0].inputs, dtype=products[0].dtype)
    rounds = []
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            for each in products:
                each(inputs)
            rounds.append(time.perf_counter() - began)
    return min(rounds[1:]) * _TOKENS[phase] / _ROWS[phase]
