"""The keys and values of all requests, in memory taken once.

It owns the arena [2, layers, heads, places, head_dim], so that one head reads memory in one go, and which
lane of it a request has. It refuses to grow: what does not fit waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from assistant.engine.lanes import Lane, Lanes

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a token's keys and values take in each layer."""

    layers: int
    heads: int
    head_dim: int
    dtype: torch.dtype
    device: str

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return 2 * self.layers * self.heads * self.head_dim * self.dtype.itemsize


class KeyValues:
    """Room for the keys and values of `places` tokens, at most `longest` of one request."""

    def __init__(self, shape: Shape, places: int, longest: int) -> None:
        self.shape, self.lanes = shape, Lanes(places, longest)
        size = (2, shape.layers, shape.heads, self.lanes.total, shape.head_dim)
        self.arena = _zeros(size, shape.dtype, shape.device)
        self.keys: tuple[Tensor, ...] = tuple(self.arena[0])
        self.values: tuple[Tensor, ...] = tuple(self.arena[1])

    def read(self, lane: Lane, start: int, stop: int) -> Tensor:
        """Keys and values [2, layers, heads, stop - start, head_dim] of a lane's tokens, not copied."""
        return self.arena[:, :, :, lane.offset + start : lane.offset + stop]


def _zeros(size: tuple[int, ...], dtype: torch.dtype, device: str) -> Tensor:
    """Zeros: what is masked may still not be NaN. On a CPU their pages are taken when first written."""
    if device != "cpu":
        return torch.zeros(size, dtype=dtype, device=device)
    memory = np.zeros(math.prod(size) * dtype.itemsize + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    aligned = memory[first : len(memory) - _ALIGNMENT + first]
    return torch.from_numpy(aligned).view(dtype).view(size)
