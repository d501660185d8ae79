"""What one person may read of the document store: documents, their texts and their chunks.

It owns the only way to a chunk by its id. Every statement is bound to the permitted access classes, so
that a document outside them looks like one that is not there. It refuses to decide which classes those
are (`assistant.policies.permissions` does), and an empty set reads nothing.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import BindParameter, Dialect, bindparam, func, select, tuple_

from assistant.store.database import Database
from assistant.store.rows import CHUNKS, DOCUMENTS, named, to_chunk, to_document
from assistant.store.schema import chunks, documents
from assistant.types import Chunk, Document

_IDS_PER_QUERY = 10_000


class Readable:
    """A view of the store through a set of permitted access classes. Cheap to make; keeps nothing."""

    def __init__(self, database: Database, permitted: frozenset[int]) -> None:
        self._database, self._permitted = database, permitted

    def get(self, document_id: str) -> Document | None:
        """Return a living document by id; None if there is none or it may not be read."""
        if not self._permitted:
            return None
        with self._database.read() as connection:
            row = connection.execute(DOCUMENTS.where(documents.c.id == document_id)).one_or_none()
        return to_document(row) if row is not None and row.class_id in self._permitted else None

    def named(self, name: str) -> tuple[Document, ...]:
        """Return the documents that an id, `source:uri` or a uri means: several sources may hold a uri."""
        with self._database.read() as connection:
            found = connection.execute(named(name)).all()
        return tuple(to_document(row) for row in found if row.class_id in self._permitted)

    def text(self, document_id: str) -> str | None:
        """Return the whole text that chunk offsets count in; None as `get`."""
        query = select(documents.c.text, documents.c.class_id).where(documents.c.id == document_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return str(row.text) if row is not None and row.class_id in self._permitted else None

    def span(self, document_id: str, start: int, end: int) -> str | None:
        """Return a part of that text, offsets in characters; None as `get`."""
        part = func.substr(documents.c.text, start + 1, end - start).label("part")
        query = select(part, documents.c.class_id).where(documents.c.id == document_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return str(row.part) if row is not None and row.class_id in self._permitted else None

    def page(
        self, *, limit: int, after: tuple[str, str] = ("", ""), source: str | None = None
    ) -> tuple[Document, ...]:
        """Return at most `limit` documents behind the place `after`, in order of source and uri."""
        if not self._permitted:
            return ()
        classes: BindParameter[list[int]] = bindparam(
            "classes", sorted(self._permitted), expanding=True, literal_execute=True
        )
        query = (
            DOCUMENTS.where(documents.c.class_id.in_(classes))
            .where(tuple_(documents.c.source, documents.c.uri) > after)
            .order_by(documents.c.source, documents.c.uri)
            .limit(limit)
        )
        if source is not None:
            query = query.where(documents.c.source == source)
        with self._database.read() as connection:
            return tuple(to_document(row) for row in connection.execute(query))

    def pieces(self, document_id: str) -> tuple[Chunk, ...]:
        """Return the chunks of a document in order; none if there is none or it may not be read."""
        query = CHUNKS.where(chunks.c.document_id == document_id).order_by(chunks.c.ordinal)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return tuple(to_chunk(row) for row in found if row.class_id in self._permitted)

    def chunks(self, ids: Sequence[int]) -> dict[int, tuple[Chunk, Document]]:
        """Return those of the chunks that are alive and permitted, with their documents.

        This is the check after a search: the database's word, whatever an index said.
        """
        found: dict[int, tuple[Chunk, Document]] = {}
        if not self._permitted or not ids:
            return found
        owners: dict[str, Document] = {}
        every = _sql(self._database.dialect)
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = ",".join(str(int(number)) for number in ids[start : start + _IDS_PER_QUERY])
            for row in map(_row, self._database.rows(f"{every} WHERE chunks.id IN ({some})")):
                if row.class_id in self._permitted:
                    owner = owners.get(row.document_id) or to_document(row)
                    found[row.chunk_id] = (to_chunk(row), owners.setdefault(owner.id, owner))
        return found


_row: Callable[[tuple[Any, ...]], Any] = cast(Any, namedtuple)("row", CHUNKS.selected_columns.keys())._make


@lru_cache(maxsize=4)
def _sql(dialect: Dialect) -> str:
    """Return the words of `CHUNKS`, made once: every search reads chunks, and making them costs as much."""
    return str(CHUNKS.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
