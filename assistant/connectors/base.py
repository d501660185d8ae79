"""The connector contract: where documents come from.

A connector lists what a source holds now and hands over one item's bytes; it knows the labels of each
item, because access is a property of the source. It refuses to extract, to store, or to decide what
changed: that is the ingest's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from assistant.types import Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing a source holds.

    `uri` is its path inside the source. `fingerprint` changes whenever the content may have changed and
    is cheap to get (size and time, an entity tag, a version). `read_as` is the extension whose format
    the bytes have, where that of `uri` does not tell; `title` stands where the content names none.
    """

    uri: str
    fingerprint: str
    size_bytes: int
    labels: Labels
    dated: str | None = None
    title: str | None = None
    read_as: str | None = None


class Connector(Protocol):
    """A source of documents. `name` is the source's name in labels, documents and locks."""

    @property
    def name(self) -> str:
        """The source's name, unique in the workspace."""
        ...

    def discover(self) -> Iterator[Item]:
        """Yield everything the source holds now; what is not yielded counts as gone.

        Raises:
            IngestError: the source cannot be listed.
            ConfigError: its labels are wrong; nothing may be ingested under a guess.
        """
        ...

    def fetch(self, item: Item) -> bytes:
        """Return the bytes of an item.

        Raises:
            FileNotFoundError: it vanished since it was listed.
            IngestError: it cannot be read, or must not be.
        """
        ...
