"""Many adapters in one product: y = x Wᵀ + b + s·(x Aᵀ) Bᵀ, with another A and B for each row.

It owns the stacks of resident adapters beside one product and the ways to run them for a mix of rows.
It refuses to know who asks: a mix names slots and rows. Low-rank adapters: Hu et al. 2021; one batch for
many of them: Punica (Chen et al. 2023), S-LoRA (Sheng et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from assistant.engine.kernels import Kernels
from assistant.engine.mix import Grouped, Listed, Mix
from assistant.engine.own import Own
from assistant.engine.product import Product


@dataclass(slots=True)
class Active:
    """The mix of the step that runs: what products without an argument of their own look at."""

    mix: Mix = ()
    kernels: Kernels | None = None


class MixedLinear(nn.Module):
    """A product of one or several parts (as query, key, value) and their adapters.

    A slot's B stands in blocks, each part's in its own rows and columns with zeros beside it, so that
    what the parts add is one product.

    Args:
        product: of the base.
        active: where the mix of the running step stands.
        slots: how many adapters can be resident.
    """

    def __init__(self, product: Product, active: Active, slots: int) -> None:
        super().__init__()
        self._product, self._active, self._slots = product, active, slots
        ends = [0, *accumulate(product.outs)]
        self._columns = [slice(start, stop) for start, stop in zip(ends, ends[1:], strict=False)]
        self._ends = torch.tensor(ends)
        self._have(*self._stacks(0))
        self._targeted: set[int] = set()
        self._owns: dict[int, Own] = {}

    @property
    def narrow(self) -> bool:
        """Whether a few rows read the base's weights in bfloat16."""
        return self._product.narrow

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
        for number, part in enumerate(parts):
            if part is not None:
                a, b = part
                self._a[slot, number, : len(a)] = a
                self._b[slot, number, : len(a), self._columns[number]] = b.T
        self._targeted.add(slot)

    def clear(self, slot: int) -> None:
        """Forget a slot's matrices."""
        if slot in self._targeted:
            self._targeted.remove(slot)
            self._owns.pop(slot, None)
            self._a[slot].zero_()
            self._b[slot].zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out] for `x` [..., in]; the rows are those of the active mix."""
        y = self.run(x.reshape(-1, self._product.inputs))
        return y.view(*x.shape[:-1], y.shape[1])

    def run(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Return [rows, out] for `x` [rows, in], and `added` [rows, out] with it."""
        y = self._product(x, added)
        for part in self._active.mix if self._targeted else ():
            if isinstance(part, Listed):
                assert self._active.kernels and part.rows <= x.shape[0], "a plan is for these rows, compiled"
                self._active.kernels.add(x, y, self._a, self._b, self._ends, part.groups)
            elif isinstance(part, Grouped):
                self._add_grouped(part, x[part.start : part.stop], y[part.start : part.stop])
            elif part.slot in self._targeted:
                own = self._owns.get(part.slot) or self._own(part.slot, part.rank)
                if part.stop - part.start == x.shape[0]:
                    y = own.add(x, y)
                else:
                    mine = y[part.start : part.stop]
                    added_to = own.add(x[part.start : part.stop], mine)
                    if added_to is not mine:
                        mine.copy_(added_to)
        return y

    def _own(self, slot: int, rank: int) -> Own:
        """Return a slot's adapter by itself, at its own rank."""
        rank = min(rank, self._a.shape[2])
        own = Own(
            self._a[slot, :, :rank], self._b[slot, :, :rank], self._columns, packed=self._product.packed
        )
        self._owns[slot] = own
        return own

    def _add_grouped(self, part: Grouped, x: Tensor, y: Tensor) -> None:
        """Rows of several adapters, as many rows for each (some repeated, and then not used)."""
        a, b = self._whole_a[part.first : part.last], self._whole_b[part.first : part.last]
        rows = x if part.gather is None else x.index_select(0, part.gather)
        hidden = torch.bmm(rows.view(len(a), part.height, -1), a)
        if part.scatter is None:
            y.view(len(a), part.height, -1).baddbmm_(hidden, b)
        else:
            y += torch.bmm(hidden, b).flatten(0, 1).index_select(0, part.scatter)

    def _make_room(self, rank: int) -> None:
        """Have stacks of at least this rank; what is in them stays."""
        old, had = (self._a, self._b), self._a.shape[2]
        if had < rank:
            self._owns.clear()
            self._have(*self._stacks(rank))
            for new, before in zip((self._a, self._b), old, strict=True):
                new[:, :, :had] = before

    def _have(self, a: Tensor, b: Tensor) -> None:
        """Take stacks into use, seen as grouped rows see them: a look costs as much as a small product."""
        slots, parts, rank, inputs = a.shape
        self._a, self._b = a, b
        self._whole_a = a.view(slots, parts * rank, inputs).transpose(1, 2)
        self._whole_b = b.view(slots, parts * rank, b.shape[3])

    def _stacks(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return A [slots, parts, rank, in] and scaled B [slots, parts, rank, out], all zeros.

        A product of few rows in bfloat16 is faster with what it adds up over lying together in memory.
        """
        product, parts = self._product, len(self._product.outs)
        rank += rank % 2  # compiled products take ranks in pairs
        a, out = product.zeros(self._slots, parts, rank, product.inputs), sum(product.outs)
        if product.dtype == torch.float32 or self._active.kernels:
            return a, product.zeros(self._slots, parts, rank, out)
        return a, product.zeros(self._slots, out, parts, rank).permute(0, 2, 3, 1)
