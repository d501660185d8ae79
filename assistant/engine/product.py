"""One matrix product of the model, y = x Wᵀ + b, in the form the machine runs fastest.

It owns packing: oneDNN's own weight layout, reached through PyTorch's mkldnn operators, is several times
faster for small batches where MKL is slow; and for a few rows in float32 a copy of the weights in bfloat16,
where that loses nothing. It refuses to choose: `arithmetic` measures and decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from assistant.engine.kernels import Kernels


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch packs weights of this dtype for this CPU: tried, not looked up."""
    try:
        Product([torch.ones(16, 16, dtype=dtype)], packed=True)(torch.ones(2, 16, dtype=dtype))
    except (AttributeError, RuntimeError):  # no such operators; no such instructions
        return False
    return True


class Product:
    """The product with one or several weights side by side.

    Args:
        weights: each [out_i, in]; the result has their outputs one after another.
        biases: each [out_i], or none at all.
        packed: whether to keep the weight in oneDNN's layout (and only so).
        few: what computes products of few rows, or None: all are computed in one way. It takes half as much
            memory again.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor] = (),
        *,
        packed: bool = False,
        few: Kernels | None = None,
    ) -> None:
        weight = weights[0].detach() if len(weights) == 1 else torch.cat(list(weights)).detach()
        self._bias = torch.cat(list(biases)).detach() if biases else None
        self.outs = tuple(part.shape[0] for part in weights)
        self.inputs = weight.shape[1]
        self.dtype, self.device = weight.dtype, weight.device
        self.packed = packed
        self._few, self._narrow = few, _narrowed(weight) if few and few.most_rows else None
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if packed else weight
        if packed:
            self._run = torch.ops.mkldnn._linear_pointwise.default
            self._run_added = torch.ops.mkldnn._linear_pointwise.binary

    @property
    def narrow(self) -> bool:
        """Whether products of few rows read a copy in bfloat16."""
        return self._narrow is not None

    def zeros(self, *size: int) -> Tensor:
        """Return zeros of the weights' dtype, where they are."""
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Return [n, out] for `x` [n, in], n at least 1, and `added` [n, out] with it."""
        if self._few and self._narrow is not None and x.shape[0] <= self._few.most_rows:
            return self._few.few(x, self._narrow, self._bias, added)
        if not self.packed:
            result = torch.nn.functional.linear(x, self._weight, self._bias)
            return result if added is None else result.add_(added)
        packed: Tensor = (
            self._run(x, self._weight, self._bias, "none", [], "")
            if added is None
            else self._run_added(x, added, self._weight, self._bias, "add")
        )
        return packed


def _narrowed(weight: Tensor) -> Tensor | None:
    """Return float32 weights in bfloat16 if each is the same number there: most models were trained in it."""
    narrow = weight.bfloat16().contiguous()
    return narrow if torch.equal(narrow.float(), weight) else None


def product_of(layers: Sequence[torch.nn.Linear], *, packed: bool, few: Kernels | None = None) -> Product:
    """Return the product of linear layers that share their input."""
    biases = [layer.bias for layer in layers if layer.bias is not None]
    if biases and len(biases) < len(layers):
        biases = [
            layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
            for layer in layers
        ]
    return Product([layer.weight for layer in layers], biases, packed=packed, few=few)
