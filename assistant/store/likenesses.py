"""What each document is like, in SQL: its sketch, and which edition of what it is.

It owns what is written of it with every document, and the ways from one document to those that are like
it, bound to the permitted access classes as `readable` is: a document outside them looks like one that is
not there. Nothing here names another document, so nothing has to follow when one goes or is relabelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from assistant import minhash
from assistant.editions import asked_for, edition, later
from assistant.minhash import Hashes
from assistant.store.database import Database
from assistant.store.rows import DOCUMENTS, to_document
from assistant.store.schema import bands, documents, likenesses
from assistant.types import Document

NEAR = 0.8
"""From this likeness on two documents are near-duplicates: in a page of text some twenty words differ."""
EDITION = 0.5
"""From this likeness on two documents of one series are editions of one, and not two reports or minutes."""
_MOST_COMPARED = 1_000
_LAST_COMPARED = 8
"""Of thousands of names that look like one series, so many of the last that may be read are compared."""
_IDS_PER_QUERY = 5_000
_LATER = (
    "SELECT series, document_id, number FROM ("
    "SELECT other.series, other.document_id, other.number, row_number() OVER"
    " (PARTITION BY other.series ORDER BY other.number DESC, other.document_id DESC) AS place"
    " FROM (SELECT series, min(number) AS number FROM likenesses"
    " WHERE document_id IN ({ids}) GROUP BY series)"
    " AS own JOIN likenesses AS other ON other.series = own.series AND other.number > own.number"
    " JOIN documents ON documents.id = other.document_id WHERE documents.class_id IN ({classes})"
    f") AS ranked WHERE place <= {_LAST_COMPARED} ORDER BY series, place"
)
_HAVE_LATER = (
    "SELECT document_id, series, number FROM likenesses AS own WHERE EXISTS"
    " (SELECT 1 FROM likenesses AS other WHERE other.series = own.series AND other.number > own.number)"
    " AND document_id IN"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """A document and how alike it is to the one asked about: the share of their pieces that both have."""

    document: Document
    likeness: float


class Likenesses:
    """What documents that a person may read have in common. Cheap to make; keeps nothing."""

    def __init__(self, database: Database, permitted: frozenset[int], *, editions: bool = True) -> None:
        """Look through a set of access classes; see `Documents`."""
        self._database, self._permitted, self._editions = database, permitted, editions

    def near(self, document_id: str) -> tuple[Alike, ...]:
        """Return the near-duplicates of a document, the most alike first; none of one that is not readable.

        Where more than a thousand share something with it, some of them are left out.
        """
        own, other = bands.alias("own"), bands.alias("other")
        candidates = (
            select(other.c.document_id)
            .join_from(own, other, own.c.band == other.c.band)
            .join(documents, documents.c.id == other.c.document_id)
            .where(own.c.document_id == document_id, other.c.document_id != document_id)
            .where(self._may_be_read)
            .distinct()
            .limit(_MOST_COMPARED)
        )
        with self._database.read() as connection:
            ids = connection.execute(candidates).scalars().all()
        sketches = self.sketches([document_id, *ids])
        mine = sketches.pop(document_id, None)
        if mine is None:
            return ()
        likeness = {id: minhash.alike(mine, theirs) for id, theirs in sketches.items()}
        near = [id for id in sorted(likeness, key=lambda id: (-likeness[id], id)) if likeness[id] >= NEAR]
        found = self._documents(near)
        return tuple(Alike(document=found[id], likeness=likeness[id]) for id in near if id in found)

    def sketches(self, ids: Sequence[str]) -> dict[str, Hashes]:
        """Return the sketches of those of the documents that may be read and have one."""
        query = (
            select(likenesses.c.document_id, likenesses.c.sketch, documents.c.class_id)
            .join_from(likenesses, documents)
            .where(likenesses.c.document_id.in_(ids))
        )
        return {row.document_id: minhash.unpack(row.sketch) for row in self._readable(query)}

    def newer(self, of: Sequence[Document], *, question: str = "") -> dict[str, Document]:
        """Return, by id, what to read instead of a document: one that supersedes it, or a later edition.

        Only what may be read counts, and of that the newest. Two that supersede each other both stay.

        Args:
            question: one that names the year of an edition asks for that one.
        """
        newer: dict[str, Document] = {}
        for start in range(0, len(of), _IDS_PER_QUERY):
            some = of[start : start + _IDS_PER_QUERY]
            newer |= self._superseding([document for document in some if document.superseded_by])
            if self._editions:
                left = [document for document in some if document.id not in newer]
                newer |= self._later(left, question)
        return {id: document for id, document in newer.items() if document.superseded_by != id}

    def _superseding(self, of: Sequence[Document]) -> dict[str, Document]:
        """Return those that name the documents as superseded."""
        if not of:
            return {}
        query = (
            DOCUMENTS.add_columns(documents.c.supersedes)
            .where(documents.c.supersedes.in_([document.uri for document in of]))
            .order_by(documents.c.dated.desc().nulls_last(), documents.c.id)
        )
        ids = {(document.source, document.uri): document.id for document in of}
        found: dict[str, Document] = {}
        for row in self._readable(query):
            id = ids.get((row.source, row.supersedes))
            if id not in (None, row.document_id):
                found.setdefault(id, to_document(row))
        return found

    def _later(self, of: Sequence[Document], question: str) -> dict[str, Document]:
        """Return the last edition of the documents that have later ones; asked by every search."""
        ids = ",".join(f"'{document.id}'" for document in of if document.id.isalnum())
        rows = self._database.rows(f"{_HAVE_LATER} ({ids})") if ids else ()
        own = {id: (series, number) for id, series, number in rows if not asked_for(number, question)}
        last = self._last(own)
        sketches = self.sketches([*own, *(id for ids in last.values() for id, _ in ids)]) if own else {}
        found: dict[str, str] = {}
        for id, (series, number) in own.items():
            for newer, theirs in last.get(series, ()):
                both = id in sketches and newer in sketches and later(theirs, number)
                if both and minhash.alike(sketches[id], sketches[newer]) >= EDITION:
                    found[id] = newer
                    break
        known = self._documents(found.values())
        return {id: known[newer] for id, newer in found.items() if newer in known}

    def _last(self, of: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
        """Return ids and numbers of the last in the series of documents that may be read, the last first."""
        ids, classes = ",".join(f"'{id}'" for id in of), ",".join(map(str, sorted(self._permitted)))
        rows = self._database.rows(_LATER.format(ids=ids, classes=classes)) if ids and classes else ()
        found: dict[str, list[tuple[str, str]]] = {}
        for series, id, number in rows:
            found.setdefault(series, []).append((id, number))
        return found

    def _documents(self, ids: Iterable[str]) -> dict[str, Document]:
        ids = list(ids)
        rows = self._readable(DOCUMENTS.where(documents.c.id.in_(ids))) if ids else ()
        return {row.document_id: to_document(row) for row in rows}

    @property
    def _may_be_read(self) -> ColumnElement[bool]:
        permitted = sorted(self._permitted)
        return documents.c.class_id.in_(bindparam("classes", permitted, expanding=True, literal_execute=True))

    def _readable(self, query: Select[*tuple[Any, ...]]) -> list[Row[*tuple[Any, ...]]]:
        """Return the rows of a query whose `class_id` is permitted."""
        with self._database.read() as connection:
            return [row for row in connection.execute(query) if row.class_id in self._permitted]


def write(connection: Connection, of: Document, sketched: Hashes, *, over: bool) -> None:
    """Write what a document is like; `over` what may be known of an older version of it."""
    if over:
        connection.execute(delete(bands).where(bands.c.document_id == of.id))
        connection.execute(delete(likenesses).where(likenesses.c.document_id == of.id))
    values = {"document_id": of.id, "sketch": minhash.pack(sketched), **_series(of)}
    connection.execute(insert(likenesses), values)
    if rows := [{"band": band, "document_id": of.id} for band in set(minhash.bands(sketched))]:
        connection.execute(insert(bands), rows)


def moved(connection: Connection, of: Document) -> None:
    """Tell anew which edition of what a document is, as its path or title became another."""
    connection.execute(update(likenesses).where(likenesses.c.document_id == of.id).values(**_series(of)))


def unknown(connection: Connection, limit: int) -> list[tuple[Document, str]]:
    """Return documents of which nothing is known here, with their texts."""
    query = (
        DOCUMENTS.add_columns(documents.c.text)
        .outerjoin(likenesses, likenesses.c.document_id == documents.c.id)
        .where(likenesses.c.document_id.is_(None))
        .order_by(documents.c.id)
        .limit(limit)
    )
    return [(to_document(row), row.text) for row in connection.execute(query)]


def _series(of: Document) -> dict[str, str | None]:
    told = edition(of.uri, of.title, of.dated)
    return {
        "series": f"{of.source}\n{told.series}" if told else None,
        "number": told.number if told else None,
    }
