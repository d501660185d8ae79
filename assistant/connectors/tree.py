"""What the files connector needs of a place that holds files: entries, bytes, and beginnings.

It owns the shape only; `local` and `remote` are the two kinds of places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from assistant.errors import IngestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file: its path below the root, its size in bytes, and what changes with its content."""

    uri: str
    size_bytes: int
    fingerprint: str


class Tree(Protocol):
    """A root with files below it."""

    def entries(self) -> Iterator[Entry]:
        """Yield every file in a folder without a dot before its name.

        Raises:
            IngestError: the listing is not complete.
        """
        ...

    def read(self, uri: str, *, size_bytes: int, limit_bytes: int) -> bytes:
        """Return a file's bytes.

        Args:
            size_bytes: what the listing said.
            limit_bytes: more are never held in memory, but for one.

        Raises:
            FileNotFoundError: it vanished.
            IngestError: it is larger than the limit, outside the root, or cannot be read.
        """
        ...

    def beginnings(self, entries: Sequence[Entry], size_bytes: int) -> Mapping[str, bytes]:
        """Return up to `size_bytes` of each file's beginning; those that cannot be read are left out."""
        ...


def within(size_bytes: int, limit_bytes: int) -> None:
    """Refuse a file above the limit.

    Raises:
        IngestError: it is larger.
    """
    if size_bytes > limit_bytes:
        limit = limit_bytes // 1_000_000
        raise IngestError(
            f"It is larger than {limit:,} MB.", remedy="Raise the connector's `max_file_mb`, or exclude it."
        )


def inside(uri: str) -> None:
    """Refuse a path that could lead out of the root.

    Raises:
        IngestError: a part of it is `..`, or it begins at another root.
    """
    if ".." in uri.split("/") or "\0" in uri:
        raise IngestError("Its path leads out of the source.", remedy="Rename it.")
