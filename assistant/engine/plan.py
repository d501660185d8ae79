"""What one forward pass computes: tokens of several requests packed into one row.

It owns the layout: decoding rows first, in the order that suits their adapters, then pieces of prompts;
where each token's keys and values go, what each row may attend to, which rows get logits. It refuses to
know about requests: a span is a lane, tokens and an adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from assistant.engine.lanes import Lane
from assistant.engine.mix import Mix, Sliced, Use, arrange, listed

_GAP = 2
"""Idle lanes between two rows that are still read in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Tokens of one request that run now; `start` of its tokens ran before.

    `keep` is how many of the last tokens get logits.
    """

    lane: Lane
    start: int
    tokens: Sequence[int]
    use: Use | None = None
    keep: int = 1

    @property
    def stop(self) -> int:
        """How many of the request's tokens have run after this span."""
        return self.start + len(self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Decoding rows in neighbouring lanes of one size: one attention call over lanes `first` to `last`.

    `rows` [lanes] is the row of each lane (any for an idle one), `places` and `targets` [k] say which
    results belong to which rows; rows and places are None where row i is in lane i. `mask`
    [lanes, 1, 1, length] hides what is not a lane's, None where nothing is.
    """

    size: int
    first: int
    last: int
    length: int
    rows: Tensor | None
    places: Tensor | None
    targets: Tensor
    mask: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Rows `first` to `last`: neighbouring tokens of one request, who see its tokens up to their own.

    `mask` [rows, length] is None where the rows are all of the request's tokens, or one.
    """

    first: int
    last: int
    offset: int
    length: int
    mask: Tensor | None

    @property
    def causal(self) -> bool:
        """Whether the rows are all tokens of the request so far: each sees those up to itself."""
        return self.mask is None and self.last - self.first > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What attention and adapters need to know of the rows that run.

    Compiled attention reads `tasks` [tasks, 4], first row, rows, offset and length, and no runs or segments.
    """

    runs: tuple[Run, ...]
    segments: tuple[Segment, ...]
    mix: Mix
    tasks: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One forward pass.

    `tokens`, `positions` and `writes` (places in the arena) are [rows]; `keep` are the rows that get
    logits, `last` the view of these alone, for the last layer: the same one where all do. `owners[i]` is
    the number of the span to which the i-th kept row belongs.
    """

    tokens: Tensor
    positions: Tensor
    writes: Tensor
    keep: Tensor
    owners: tuple[int, ...]
    view: View
    last: View


@dataclass(frozen=True, slots=True)
class Compiled:
    """What runs by compiled kernels: adapters do, attention by tasks of at most `block` rows, if any."""

    block: int | None


def plan(spans: Sequence[Span], device: str = "cpu", compiled: Compiled | None = None) -> Plan:
    """Lay out spans; those of one token decode together, the others are prompts' pieces."""
    singles = [number for number, span in enumerate(spans) if len(span.tokens) == 1 and span.keep == 1]
    pieces = [number for number in range(len(spans)) if number not in set(singles)]
    arrangement = arrange([spans[number].use for number in singles], device, slices=compiled is not None)
    decoding = [singles[row] for row in arrangement.order]
    ordered = [spans[number] for number in (*decoding, *pieces)]
    whole, kept = (
        _Layout(device, arrangement.mix, [spans[number] for number in decoding], compiled) for _ in range(2)
    )
    keep, owners = list(range(len(decoding))), list(decoding)
    for number in pieces:
        span = spans[number]
        keep += range(whole.row + len(span.tokens) - span.keep, whole.row + len(span.tokens))
        owners += [number] * span.keep
        whole.add(span, len(span.tokens))
        kept.add(span, span.keep)
    tokens = [token for span in ordered for token in span.tokens]
    positions = [place for span in ordered for place in range(span.start, span.stop)]
    writes = [span.lane.offset + place for span in ordered for place in range(span.start, span.stop)]
    view = whole.view()
    return Plan(
        tokens=torch.tensor(tokens, device=device),
        positions=torch.tensor(positions, device=device),
        writes=torch.tensor(writes, device=device),
        keep=torch.tensor(keep, dtype=torch.long, device=device),
        owners=tuple(owners),
        view=view,
        last=kept.view() if pieces else view,
    )


class _Layout:
    """What rows see and which adapters they have: decoding rows, then pieces as they are added."""

    def __init__(self, device: str, mix: Mix, decoding: Sequence[Span], compiled: Compiled | None) -> None:
        self.row = len(decoding)
        self._device, self._mix, self._decoding, self._compiled = device, list(mix), decoding, compiled
        self._block = compiled.block if compiled else None
        self._segments: list[Segment] = []
        self._tasks = [(row, 1, span.lane.offset, span.stop) for row, span in enumerate(decoding)]

    def add(self, span: Span, count: int) -> None:
        """Add the last `count` tokens of a piece."""
        if not count:
            return
        first, last = self.row, self.row + count
        if self._block:
            for start in range(first, last, self._block):
                stop = min(start + self._block, last)
                self._tasks.append((start, stop - start, span.lane.offset, span.stop - last + stop))
        else:
            whole = span.stop == count
            mask = None if whole or count == 1 else _sees(count, span.stop, self._device)
            self._segments.append(
                Segment(first=first, last=last, offset=span.lane.offset, length=span.stop, mask=mask)
            )
        if span.use is not None:
            self._mix.append(Sliced(first, last, span.use.slot, span.use.rank))
        self.row = last

    def view(self) -> View:
        mix = tuple(self._mix)
        if self._compiled:
            mix = listed([part for part in mix if isinstance(part, Sliced)])
        if self._block:
            return View(runs=(), segments=(), mix=mix, tasks=torch.tensor(self._tasks))
        runs = tuple(_runs(self._decoding, self._device))
        return View(runs=runs, segments=tuple(self._segments), mix=mix)


def _sees(rows: int, length: int, device: str) -> Tensor:
    """Mask [rows, length], true where the i-th of the last `rows` tokens sees the j-th token."""
    return torch.ones(rows, length, dtype=torch.bool, device=device).tril(length - rows)


def _runs(spans: Sequence[Span], device: str) -> Iterator[Run]:
    """Group decoding rows by lane size and nearness."""
    by_lane = sorted(range(len(spans)), key=lambda row: (spans[row].lane.size, spans[row].lane.number))
    for size, rows in groupby(by_lane, key=lambda row: spans[row].lane.size):
        near: list[int] = []
        for row in rows:
            if near and spans[row].lane.number - spans[near[-1]].lane.number > _GAP + 1:
                yield _run(size, near, spans, device)
                near = []
            near.append(row)
        yield _run(size, near, spans, device)


def _run(size: int, rows: Sequence[int], spans: Sequence[Span], device: str) -> Run:
    first, last = spans[rows[0]].lane.number, spans[rows[-1]].lane.number + 1
    lengths = [spans[row].stop for row in rows]
    places = [spans[row].lane.number - first for row in rows]
    of_lane, seen = [rows[0]] * (last - first), [1] * (last - first)
    for place, row, length in zip(places, rows, lengths, strict=True):
        of_lane[place], seen[place] = row, length
    longest = max(lengths)
    even = min(seen) == longest
    if not even and device != "cpu":  # GPUs read masks in pieces of eight
        longest = min(size, -(-longest // 8) * 8)
    in_order = of_lane == list(range(len(spans)))
    return Run(
        size=size,
        first=first,
        last=last,
        length=longest,
        rows=None if in_order else torch.tensor(of_lane, device=device),
        places=None if len(rows) == last - first else torch.tensor(places, device=device),
        targets=torch.tensor(list(rows), device=device),
        mask=None if even else _below(seen, longest, device)[:, None, None],
    )


def _below(seen: Sequence[int], longest: int, device: str) -> Tensor:
    """Mask [lanes, longest], true where the j-th place is among the first `seen` of a lane."""
    return torch.arange(longest, device=device) < torch.tensor(seen, device=device)[:, None]
