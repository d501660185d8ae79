"""Ingests that are killed, whose writes fail, whose disk fills up: nothing acknowledged is lost or doubled.

300 `kill -9`, 100 times failing writes, 20 full disks, each followed by a look from a fresh process; see
`benchmarks.parts.ingests` for what an accident is and what is not covered.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure, Options
from benchmarks.parts import ingests
from benchmarks.parts.ingests import Accident, Outcome

NUMBERS: dict[Accident, int] = {"kill": 300, "fault": 100, "full": 20}
QUICK: dict[Accident, int] = {"kill": 12, "fault": 8, "full": 4}
DOCUMENTS, CHANGED = 40, 20
_DISK_BYTES, _LEAST_FREE, _MOST_FREE = 24 << 20, 0, 700_000


@dataclass(slots=True, kw_only=True)
class Harm:
    """What accidents did, counted."""

    accidents: int = 0
    interrupted: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    damaged: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(options: Options) -> Iterator[Figure]:
    """Yield, for each kind of accident, what it harmed."""
    numbers = QUICK if options.quick else NUMBERS
    for kind, count in numbers.items():
        harm = suffer(kind, count)
        name = f"crashes_{kind}"
        if not harm.accidents:
            yield Figure(
                figure=name, value=None, unit="accidents", skipped="no small disk can be mounted here"
            )
            continue
        yield Figure(figure=name, value=harm.accidents, unit="accidents")
        yield Figure(figure=f"{name}_interrupted", value=harm.interrupted, unit="ingests")
        yield Figure(figure=f"{name}_acknowledged", value=harm.acknowledged, unit="documents")
        yield Figure(figure=f"{name}_lost", value=harm.lost, unit="documents", at_most=0)
        yield Figure(figure=f"{name}_doubled", value=harm.doubled, unit="chunks", at_most=0)
        yield Figure(figure=f"{name}_damaged", value=len(harm.damaged), unit="findings", at_most=0)
        yield Figure(figure=f"{name}_seconds", value=harm.seconds / harm.accidents, unit="s")


def suffer(kind: Accident, count: int, *, seed: int = 7) -> Harm:
    """Let one workspace suffer so many accidents, and its last ingest succeed."""
    ingests.warm()
    chance, harm, began = random.Random(f"{seed} {kind}"), Harm(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crashes-") as name:
        folder = Path(name) / "work"
        away = ingests.mounted(folder, _DISK_BYTES) if kind == "full" else None
        if kind == "full" and away is None:
            return harm
        try:
            docs = folder / "docs"
            docs.mkdir(parents=True)
            for number in range(DOCUMENTS):
                ingests.write(docs, number, 0)
            for version in range(1, count + 1):
                _once(folder, kind, chance, harm)
                for number in chance.sample(range(DOCUMENTS), CHANGED):
                    ingests.write(docs, number, version)
                (docs / f"rule-{chance.randrange(DOCUMENTS):02}.md").unlink(missing_ok=True)
            _last(folder, chance, harm)
        finally:
            if away:
                away()
    harm.seconds = time.monotonic() - began
    return harm


def _once(folder: Path, kind: Accident, chance: random.Random, harm: Harm) -> None:
    """One ingest, its accident, and what a fresh process finds."""
    ballast = None
    if kind == "full":
        ballast = ingests.fill(folder, chance.randint(_LEAST_FREE, _MOST_FREE))
    outcome = ingests.ingest(folder, kind, chance, DOCUMENTS)
    if ballast:
        ballast.unlink(missing_ok=True)
    harm.accidents += 1
    harm.interrupted += not outcome.finished
    harm.acknowledged += len(outcome.acknowledged)
    _count(folder, outcome, harm)


def _count(folder: Path, outcome: Outcome, harm: Harm) -> None:
    state, wanted = ingests.look(folder), ingests.digests(folder / "docs")
    for uri, what in outcome.acknowledged.items():
        held = state.digests.get(uri) == wanted.get(uri)
        harm.lost += what != "refused" and not held
    harm.doubled += state.doubled
    harm.damaged += state.damaged
    if state.damaged:
        print(f"accident {harm.accidents}: {state.damaged}", file=sys.stderr)


def _last(folder: Path, chance: random.Random, harm: Harm) -> None:
    """Ingest undisturbed: the store then holds exactly the source."""
    outcome = ingests.ingest(folder, "none", chance, 0)
    assert outcome.finished, outcome.error
    _count(folder, outcome, harm)
    harm.lost += ingests.look(folder).digests != ingests.digests(folder / "docs")
