"""How documents end in an ingest, one by one and in all.

It owns the words for it and the counting; it refuses to decide any of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

Outcome = Literal["added", "changed", "renamed", "unchanged", "relabelled", "removed", "refused"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One file is done: which, how it ended, and how many of how many that makes.

    `chunks` counts those embedded until now, in `seconds`; `left_s` is how long the rest will take at the
    rate so far, by size, and None while nothing tells.
    """

    uri: str
    outcome: Outcome
    done: int
    total: int
    chunks: int = 0
    seconds: float = 0.0
    left_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How an ingest ended, in documents. What stands in an archive counts as documents of its own.

    `refused` holds uri and reason, `notices` uri and what its reader should know; `chunks` counts those
    embedded.
    """

    added: int
    changed: int
    renamed: int
    unchanged: int
    relabelled: int
    removed: int
    refused: tuple[tuple[str, str], ...]
    chunks: int
    seconds: float
    notices: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True)
class Tally:
    """The counts of a running ingest.

    `total` counts the files that have to be gone through, `left_bytes` sizes those still to be read.
    """

    total: int
    left_bytes: int
    done: int = 0
    chunks: int = 0
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    refused: list[tuple[str, str]] = field(default_factory=list)
    notices: list[tuple[str, str]] = field(default_factory=list)
    _read_bytes: int = 0
    _started: float = field(default_factory=time.monotonic)

    def count(self, outcome: Outcome, documents: int = 1) -> None:
        """Count documents that ended so."""
        self.counts[outcome] += documents

    def refuse(self, uri: str, reason: str) -> None:
        """Count a document that was refused, with the reason."""
        self.refused.append((printable(uri), reason))

    def notice(self, uri: str, notices: Iterable[str]) -> None:
        """Keep what the reader of a document should know."""
        self.notices += ((printable(uri), notice) for notice in notices)

    def step(self, uri: str, outcome: Outcome, size_bytes: int = 0) -> Progress:
        """Count one file as done, and say how far that is."""
        self.done += 1
        self.left_bytes -= size_bytes
        self._read_bytes += size_bytes
        seconds = time.monotonic() - self._started
        return Progress(
            uri=printable(uri),
            outcome=outcome,
            done=self.done,
            total=self.total,
            chunks=self.chunks,
            seconds=seconds,
            left_s=seconds * self.left_bytes / self._read_bytes if self._read_bytes else None,
        )

    def summary(self) -> Summary:
        """Return how it ended."""
        counts = {name: count for name, count in self.counts.items() if name != "refused"}
        return Summary(
            **counts,
            refused=tuple(self.refused),
            notices=tuple(self.notices),
            chunks=self.chunks,
            seconds=round(time.monotonic() - self._started, 3),
        )


def printable(uri: str) -> str:
    """Return a uri that can be printed, whatever bytes a file's name has."""
    return uri.encode("utf-8", "backslashreplace").decode()
