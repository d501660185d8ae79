"""What every part of the engine benchmark is given, and how rounds are run.

It owns the shared ground (model folder, adapters, texts, rates) and the alternation of sides; it refuses
to know what a part measures.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeVar

from assistant.types import AdapterVersion
from benchmarks.figures import Figure
from benchmarks.rates import Rates
from benchmarks.sides.base import Record
from benchmarks.sides.workload import Texts

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The ground all parts stand on.

    `folder` is the model without an end token, `versions` eight adapters of rank 16 on all linear
    layers, `out` a folder for what a part writes. `quick` asks for the smallest run that shows anything;
    its figures have no bars. `amx` chooses the bars that differ by machine.
    """

    folder: Path
    versions: tuple[AdapterVersion, ...]
    texts: Texts
    out: Path
    rates: Rates
    amx: bool
    quick: bool

    def figure(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        aim: float | None = None,
    ) -> Figure:
        """Return a figure, rounded to four digits; without bar and aim in a quick run."""
        if self.quick:
            at_least = at_most = aim = None
        rounded = float(f"{value:.4g}")
        return Figure(figure=name, value=rounded, unit=unit, at_least=at_least, at_most=at_most, aim=aim)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Records of every side, round by round."""

    records: Mapping[str, list[Record]] = field(default_factory=dict)

    def median(self, side: str, reading: Callable[[Record], float]) -> float:
        """Median of a reading over the rounds."""
        return median(reading(record) for record in self.records[side])

    def ratio(self, one: str, other: str, reading: Callable[[Record], float]) -> float:
        """Median over the rounds of one side's reading over another's of the same round."""
        pairs = zip(self.records[one], self.records[other], strict=True)
        return median(reading(mine) / reading(theirs) for mine, theirs in pairs)


def alternate(sides: Mapping[str, Callable[[], Record]], rounds: int) -> Rounds:
    """Run every side once a round, every other round in reverse order, so that no drift favours one."""
    records: dict[str, list[Record]] = {name: [] for name in sides}
    for number in range(rounds):
        order: Sequence[str] = list(sides)
        for name in reversed(order) if number % 2 else order:
            record = sides[name]()
            records[name].append(record)
            say(f"round {number + 1} of {rounds}, {name}: {record.seconds:.1f} s")
    return Rounds(records)


def apart(run: Callable[[], T]) -> T:
    """Run in a thread that ends: OpenMP keeps idle workers for each that computed, which slow the others."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def free() -> None:
    """Give memory of sides that are not used any more back, before the next is measured."""
    gc.collect()


def say(text: str) -> None:
    """Show progress on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
