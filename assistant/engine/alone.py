"""One adapter beside one product, for a step whose rows all use it: a lone user, or a department alone.

It owns the copies of A and B in the form that few rows run fastest: starting a product costs oneDNN more
than computing it, in its own layout less, and MKL, which knows float32 only, a tenth for a single row.
It refuses steps of many rows, and mixes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assistant.engine.product import Product


class Alone:
    """What an adapter adds to a product.

    Args:
        a, b: [in, rank] and [rank, out], B scaled.
        packed: whether the base's weights are kept in oneDNN's layout.
    """

    def __init__(self, a: Tensor, b: Tensor, *, packed: bool) -> None:
        self._copied = packed and a.dtype != torch.float32
        if self._copied:
            self._few = Product([a.T], packed=True), Product([b.T], packed=True)
            a, b = a.float(), b.float()
        self._a, self._b = a, b

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return [rows, out]: `y` [rows, out] and what the adapter adds for `x` [rows, in]."""
        if not self._copied:
            return y.addmm_(x @ self._a, self._b)
        if len(x) == 1:
            return y.add_(x.float() @ self._a @ self._b)
        first, second = self._few
        return second(first(x), y)
