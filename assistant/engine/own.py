"""One adapter beside one product, at its own rank: for a prompt, a lone user, or a department alone.

It owns copies of A and B in the forms that run fastest, made when first needed. To start a product costs
oneDNN 15 µs, in its own layout a little less: one for all parts beats one for each, until rows are so many
that the zeros beside the blocks count. MKL, which knows float32 only, starts in 2 µs and is better for one
row. It refuses rows of several adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from assistant.engine.product import Product

_FEW_ROWS = 32
"""Up to so many rows, starting products costs more than computing with zeros (without packing)."""


class Own:
    """What an adapter adds to a product.

    Args:
        a, b: [parts, rank, in] and [parts, rank, out], B scaled and zero but for each part's `columns`.
        packed: whether the base's weights are kept in oneDNN's layout.
    """

    def __init__(self, a: Tensor, b: Tensor, columns: Sequence[slice], *, packed: bool) -> None:
        self._parts, self._columns = b, columns
        self._a, self._b = a.flatten(0, 1).T, b.flatten(0, 1)
        self._coarse = packed and a.dtype != torch.float32

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Return `y` [rows, out] and what the adapter adds for `x` [rows, in]; `y` itself may change."""
        rows = x.shape[0]
        if self._coarse and rows == 1:
            a, b = self._single
            return y.add_(x.float() @ a @ b)
        if self._coarse:
            first, second = self._packed
            return second(first(x), y)
        if rows <= _FEW_ROWS:
            return y.addmm_(x @ self._a, self._b)
        hidden = (x @ self._a).split_with_sizes([self._parts.shape[1]] * len(self._parts), 1)
        for mine, own, columns in zip(hidden, self._parts, self._columns, strict=True):
            y[:, columns].addmm_(mine, own[:, columns])
        return y

    @cached_property
    def _single(self) -> tuple[Tensor, Tensor]:
        return self._a.float(), self._b.float()

    @cached_property
    def _packed(self) -> tuple[Product, Product]:
        return Product([self._a.T], packed=True), Product([self._b.T], packed=True)
