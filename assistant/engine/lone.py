"""One adapter beside one product, for steps whose few rows all use it: a lone user, or a department alone.

It owns copies of A and B in the form that few rows run fastest. To start a product costs oneDNN more than
to compute it, in its own layout a little less; MKL, which knows float32 only, takes a tenth of that for one
row and as much for many. It refuses steps of many rows, and mixes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assistant.engine.product import Product


class Lone:
    """What an adapter adds to a product.

    Args:
        a, b: [in, rank] and [rank, out], B scaled.
        packed: whether the base's weights are kept in oneDNN's layout.
    """

    def __init__(self, a: Tensor, b: Tensor, *, packed: bool) -> None:
        self._few: tuple[Product, Product] | None = None
        if packed and a.dtype != torch.float32:
            self._few = Product([a.T], packed=True), Product([b.T], packed=True)
            a, b = a.float(), b.float()
        self._a, self._b = a, b

    def add(self, x: Tensor, y: Tensor, rows: int) -> Tensor:
        """Return [rows, out]: `y` [rows, out] and what the adapter adds for `x` [rows, in]."""
        if self._few is None:
            return y.addmm_(x @ self._a, self._b)
        if rows == 1:
            return y.add_(x.float() @ self._a @ self._b)
        first, second = self._few
        return second(first(x), y)
