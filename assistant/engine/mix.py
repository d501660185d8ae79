"""Which rows of a step run with which adapter, and by which product.

It owns the choice: a slice of one adapter's rows, or a group of several adapters' rows in one batched
product with rows repeated where adapters have fewer. It refuses to run anything; `mixed` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SLICE_ROWS = 12
"""What starting one more product costs, in rows of a product (measured on 2-core CPUs: 8 to 16)."""


@dataclass(frozen=True, slots=True)
class Use:
    """An adapter in a slot, and its rank."""

    slot: int
    rank: int


@dataclass(frozen=True, slots=True)
class Sliced:
    """Rows `start` to `stop` run with the adapter in `slot`, at its rank."""

    start: int
    stop: int
    slot: int
    rank: int


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows `start` to `stop` run with slots `first` to `last`, `height` rows each.

    `gather` [slots x height] takes rows, counted from `start`, to their place, `scatter` [rows] takes them
    back; both None where the rows lie so already.
    """

    start: int
    stop: int
    first: int
    last: int
    height: int
    gather: Tensor | None = None
    scatter: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """Groups of the first `rows`, for the compiled product.

    `groups` [groups, 4]: first row, how many, slot, rank.
    """

    groups: Tensor
    rows: int


Mix = tuple[Sliced | Grouped | Listed, ...]


def listed(slices: Sequence[Sliced]) -> Mix:
    """Return the mix of slices of any sizes as one compiled product."""
    rows = [(part.start, part.stop - part.start, part.slot, part.rank) for part in slices]
    return (Listed(torch.tensor(rows), max(part.stop for part in slices)),) if rows else ()


@dataclass(frozen=True, slots=True)
class Arrangement:
    """An order of rows and the mix that belongs to it; `order[i]` is the given row that comes i-th."""

    order: tuple[int, ...]
    mix: Mix


def arrange(
    uses: Sequence[Use | None], device: torch.device | str = "cpu", *, slices: bool = False
) -> Arrangement:
    """Choose the order of decoding rows and the products for their adapters.

    Large groups are sliced and small ones grouped, whichever costs least: a slice costs its rows and a
    start, a group its tallest adapter's rows for each slot in its range. Rows without an adapter come last.
    With `slices` every group is sliced: for the compiled product, to which a start costs nothing.
    """
    rows: dict[Use, list[int]] = {}
    for row, use in enumerate(uses):
        if use is not None:
            rows.setdefault(use, []).append(row)
    by_size = sorted(rows, key=lambda use: (-len(rows[use]), use.slot))
    heights = [len(rows[use]) for use in by_size]
    counts = [len(by_size)] if slices else range(len(by_size) + 1)
    best = min(counts, key=lambda count: (_cost(by_size, heights, count), -count))
    sliced, grouped = by_size[:best], sorted(by_size[best:], key=lambda use: use.slot)
    order = [row for use in (*sliced, *grouped) for row in rows[use]]
    mix: list[Sliced | Grouped | Listed] = []
    start = 0
    for use in sliced:
        mix.append(Sliced(start, start + len(rows[use]), use.slot, use.rank))
        start += len(rows[use])
    if grouped:
        mix.append(_grouped(start, [(use.slot, len(rows[use])) for use in grouped], device))
    rest = [row for row, use in enumerate(uses) if use is None]
    return Arrangement(tuple(order + rest), tuple(mix))


def _cost(by_size: Sequence[Use], heights: Sequence[int], count: int) -> int:
    """Cost in rows of slicing the first `count` adapters and grouping the others."""
    cost = sum(heights[:count]) + SLICE_ROWS * count
    if rest := by_size[count:]:
        slots = [use.slot for use in rest]
        cost += SLICE_ROWS + (max(slots) - min(slots) + 1) * heights[count]
    return cost


def _grouped(start: int, groups: Sequence[tuple[int, int]], device: torch.device | str) -> Grouped:
    """Return the batched product of adapters (slot, rows) in the order of their slots."""
    first, last = groups[0][0], groups[-1][0] + 1
    height = max(count for _, count in groups)
    stop = start + sum(count for _, count in groups)
    if (stop - start) == (last - first) * height:
        return Grouped(start, stop, first, last, height)
    gather = [0] * ((last - first) * height)
    scatter: list[int] = []
    for slot, count in groups:
        for number in range(count):
            place = (slot - first) * height + number
            gather[place] = len(scatter)
            scatter.append(place)
    return Grouped(
        start, stop, first, last, height,
        torch.tensor(gather, device=device), torch.tensor(scatter, device=device),
    )  # fmt: skip
