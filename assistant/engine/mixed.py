"""Many adapters in one product: y = x Wᵀ + b + s·(x Aᵀ) Bᵀ, with another A and B for each row.

It owns the stacks of resident adapters beside one product and the ways to run them for a mix of rows.
It refuses to know who asks: a mix names slots and rows. Low-rank adapters: Hu et al. 2021; one batch for
many of them: Punica (Chen et al. 2023), S-LoRA (Sheng et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assistant.engine.mix import Grouped, Mix, Sliced
from assistant.engine.product import Product


@dataclass(slots=True)
class Active:
    """The mix of the step that runs: what products without an argument of their own look at."""

    mix: Mix = ()


class MixedLinear(nn.Module):
    """A product of one or several parts (as query, key, value) and their adapters.

    Args:
        product: of the base.
        active: where the mix of the running step stands.
        slots: how many adapters can be resident.
    """

    def __init__(self, product: Product, active: Active, slots: int) -> None:
        super().__init__()
        self._product, self._active, self._slots = product, active, slots
        self._a: Tensor | None = None  # [slots, parts, rank, in]
        self._b: list[Tensor] = []  # each [slots, rank, out_i], scaled
        self._targeted: set[int] = set()

    def sizes(self, place: int) -> tuple[int, int]:
        """Return inputs and outputs of a part."""
        return self._product.inputs, self._product.outs[place]

    def put(self, slot: int, rank: int, parts: Sequence[tuple[Tensor, Tensor] | None]) -> None:
        """Make an adapter's matrices those of a slot.

        Args:
            rank: room for this rank is needed; the adapter's own may differ by part, none is larger.
            parts: A [r, in] and B [out, r], B already scaled, or None where the adapter has none.
        """
        self.clear(slot)
        if not any(parts):
            return
        self._make_room(rank)
        assert self._a is not None, "room was made"
        for number, part in enumerate(parts):
            if part is not None:
                a, b = part
                self._a[slot, number, : len(a)] = a
                self._b[number][slot, : len(a)] = b.T
        self._targeted.add(slot)

    def clear(self, slot: int) -> None:
        """Forget a slot's matrices."""
        if slot in self._targeted:
            assert self._a is not None, "a targeted slot has matrices"
            self._targeted.remove(slot)
            for stack in (self._a, *self._b):
                stack[slot].zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out] for `x` [..., in]; the rows are those of the active mix."""
        y = self.run(x.reshape(-1, self._product.inputs))
        return y.view(*x.shape[:-1], y.shape[1])

    def run(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Return [rows, out] for `x` [rows, in], and `added` [rows, out] with it."""
        y = self._product(x, added)
        if self._targeted:
            self._add(x, y)
        return y

    def _add(self, x: Tensor, y: Tensor) -> None:
        for part in self._active.mix:
            if isinstance(part, Sliced):
                if part.slot in self._targeted:
                    self._add_sliced(part, x, y)
            else:
                self._add_grouped(part, x, y)

    def _add_sliced(self, part: Sliced, x: Tensor, y: Tensor) -> None:
        """Rows of one adapter, at its own rank."""
        assert self._a is not None, "checked by the caller"
        rank = min(part.rank, self._a.shape[2])
        hidden = x[part.start : part.stop] @ self._a[part.slot, :, :rank].reshape(-1, x.shape[1]).T
        place = 0
        for number, b in enumerate(self._b):
            columns = y[part.start : part.stop, place : place + b.shape[2]]
            columns.addmm_(hidden[:, number * rank : (number + 1) * rank], b[part.slot, :rank])
            place += b.shape[2]

    def _add_grouped(self, part: Grouped, x: Tensor, y: Tensor) -> None:
        """Rows of several adapters, as many rows for each (some repeated, and then not used)."""
        assert self._a is not None, "checked by the caller"
        rank, count = self._a.shape[2], part.last - part.first
        rows = x[part.start : part.stop] if part.gather is None else x.index_select(0, part.gather)
        a = self._a[part.first : part.last].view(count, -1, x.shape[1])
        hidden = torch.bmm(rows.view(count, part.height, -1), a.transpose(1, 2))
        place = 0
        for number, b in enumerate(self._b):
            columns = y[part.start : part.stop, place : place + b.shape[2]]
            mine = hidden[:, :, number * rank : (number + 1) * rank]
            added = torch.bmm(mine, b[part.first : part.last]).view(-1, b.shape[2])
            columns += added if part.scatter is None else added.index_select(0, part.scatter)
            place += b.shape[2]

    def _make_room(self, rank: int) -> None:
        """Have stacks of at least this rank; what is in them stays."""
        old = self._a
        if old is not None and old.shape[2] >= rank:
            return
        product = self._product
        self._a = product.zeros(self._slots, len(product.outs), rank, product.inputs)
        grown = [product.zeros(self._slots, rank, out) for out in product.outs]
        if old is not None:
            self._a[:, :, : old.shape[2]] = old
            for new, b in zip(grown, self._b, strict=True):
                new[:, : b.shape[1]] = b
        self._b = grown
