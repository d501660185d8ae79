"""The connector contract: where documents come from, and what a kind of connector has to offer.

A connector lists what a source holds now and hands over one item's bytes; it knows the labels of each
item, because access is a property of the source. It refuses to extract, to store, or to decide what
changed: that is the ingest's. `assistant.testing.connector_contract` is its suite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import Field

from assistant.types import Labels
from assistant.yamlfile import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing a source holds.

    `uri` is its path inside the source, unique there and the same as long as the thing exists.
    `fingerprint` changes whenever the content may have changed and is cheap to get (an entity tag, a
    version, size and time); an equal one means the item is not fetched again. `size_bytes` is 0 where
    the source does not tell. `labels.source` is the connector's name; without principals nobody may
    read. `read_as` is the extension whose format the bytes have, where that of `uri` does not tell;
    `title` stands where the content names none; `dated` is an ISO 8601 date.
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
        """Yield everything the source holds now; what is not yielded counts as gone, and is removed.

        So a listing that could not be completed must raise, never end early, and no cache may stand
        before it. Each call lists anew.

        Raises:
            IngestError: the source cannot be listed, or not completely.
            ConfigError: its labels are wrong; nothing may be ingested under a guess.
        """
        ...

    def fetch(self, item: Item) -> bytes:
        """Return the bytes of an item of the latest `discover`; several threads may call it at once.

        Raises:
            FileNotFoundError: it vanished since it was listed.
            IngestError: it cannot be read, or must not be; other items are not concerned.
        """
        ...


class Source(Section):
    """What a file in `connectors/` says. A kind of connector is a subclass: its keys, and `open`.

    A package offers one by an entry point of the group `assistant.connectors`, whose name is the `kind`.
    """

    kind: str
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="unique in the workspace")

    def open(self, workspace: Path) -> Connector:
        """Return the connector; relative paths count from the folder `workspace`. Nothing is read yet.

        Raises:
            ConfigError: something that the schema cannot check is wrong.
        """
        raise NotImplementedError
