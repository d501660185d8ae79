"""Documents, chunks and vectors in SQL: the truth that every index follows.

It owns the transactions that put, relabel and remove a document, each of them whole or not at all, and
the numbered changes from which indexes catch up. It refuses to judge who may read what: callers hand in
the ids they may see, and `chunks` tells which of them are still alive.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import Connection, delete, insert, select, update

from assistant.errors import StoreError, Unknown
from assistant.store import changes
from assistant.store.database import Database
from assistant.store.records import Changes, IndexedChunk, NewChunk, NewDocument, Stored, Vectors
from assistant.store.rows import (
    CHUNKS,
    CLASSES,
    DOCUMENTS,
    to_access_class,
    to_chunk,
    to_document,
)
from assistant.store.schema import access_classes, chunks, documents, removals
from assistant.types import AccessClass, Chunk, Document, Labels

__all__ = ["Changes", "Documents", "IndexedChunk", "NewChunk", "NewDocument", "Stored", "document_id"]

_IDS_PER_QUERY = 10_000


def document_id(source: str, uri: str) -> str:
    """Return the id of the document at `uri` of `source`, the same for all its versions."""
    return hashlib.sha256(f"{source}\0{uri}".encode()).hexdigest()[:16]


class Documents:
    """The document store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, document: NewDocument, new_chunks: Sequence[NewChunk], vectors: Vectors, embedder: str
    ) -> Document:
        """Store a document, its chunks and their vectors in one transaction.

        The older content of the same `(source, uri)` goes in the same step; its chunk ids are recorded
        as removed and never used again.

        Args:
            document: the document with its whole text.
            new_chunks: its pieces, in order.
            vectors: shape (chunks, dimensions), stored as float16.
            embedder: digest of the model that made the vectors.

        Raises:
            StoreError: vectors that do not fit the chunks, or a database that cannot be written.
        """
        if vectors.ndim != 2 or len(vectors) != len(new_chunks) or not np.isfinite(vectors).all():
            raise StoreError(
                f"{document.uri}: {len(new_chunks)} chunks came with vectors of shape {vectors.shape}, "
                "or with values that are no numbers.",
                remedy="Check the embedder with `assistant doctor`.",
            )
        identity = document_id(document.source, document.uri)
        with self._database.write() as connection:
            first = changes.take(connection, len(new_chunks))
            _remove_chunks(connection, identity)
            class_id = _class_id(connection, document.labels)
            _write_document(connection, identity, document, class_id, embedder)
            rows = [
                {
                    "document_id": identity,
                    "ordinal": chunk.ordinal,
                    "text": chunk.text,
                    "start": chunk.start,
                    "end": chunk.end,
                    "page": chunk.page,
                    "headings": json.dumps(chunk.headings, ensure_ascii=False),
                    "vector": vector.tobytes(),
                    "change": first + position,
                }
                for position, (chunk, vector) in enumerate(
                    zip(new_chunks, vectors.astype(np.float16), strict=True)
                )
            ]
            if rows:
                connection.execute(insert(chunks), rows)
            return to_document(connection.execute(DOCUMENTS.where(documents.c.id == identity)).one())

    def relabel(self, document_id: str, labels: Labels) -> None:
        """Move a document to the access class of `labels`; nothing is embedded again.

        Raises:
            Unknown: no such document.
        """
        with self._database.write() as connection:
            changes.take(connection, 0)  # the lock, before anything is read
            own = select(chunks.c.id).where(chunks.c.document_id == document_id).order_by(chunks.c.id)
            ids = connection.execute(own).scalars().all()
            first = changes.take(connection, len(ids))
            changed = connection.execute(
                update(documents)
                .where(documents.c.id == document_id)
                .values(class_id=_class_id(connection, labels))
            )
            if not changed.rowcount:
                raise _unknown(document_id)
            for position, chunk_id in enumerate(ids):
                connection.execute(
                    update(chunks).where(chunks.c.id == chunk_id).values(change=first + position)
                )

    def touch(self, document_id: str, fingerprint: str) -> None:
        """Remember a new fingerprint for content that did not change.

        Raises:
            Unknown: no such document.
        """
        with self._database.write() as connection:
            changed = connection.execute(
                update(documents).where(documents.c.id == document_id).values(fingerprint=fingerprint)
            )
            if not changed.rowcount:
                raise _unknown(document_id)

    def remove(self, document_id: str) -> int:
        """Delete a document with its chunks and vectors, and return the number of chunks.

        Raises:
            Unknown: no such document.
        """
        with self._database.write() as connection:
            changes.take(connection, 0)
            removed = _remove_chunks(connection, document_id)
            if not connection.execute(delete(documents).where(documents.c.id == document_id)).rowcount:
                raise _unknown(document_id)
            return removed

    def stored(self, source: str) -> dict[str, Stored]:
        """Return what is stored of a source, by uri."""
        columns = (
            documents.c.id,
            documents.c.uri,
            documents.c.fingerprint,
            documents.c.content_digest,
            access_classes.c.digest.label("labels_digest"),
            documents.c.embedder,
            documents.c.recipe,
        )
        query = select(*columns).join(access_classes).where(documents.c.source == source)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings()
            return {row["uri"]: Stored(**row) for row in rows}

    def get(self, document_id: str) -> Document | None:
        """Return a living document by id."""
        with self._database.read() as connection:
            row = connection.execute(DOCUMENTS.where(documents.c.id == document_id)).one_or_none()
        return to_document(row) if row else None

    def find(self, source: str, uri: str) -> Document | None:
        """Return a living document by its place."""
        return self.get(document_id(source, uri))

    def list(self, source: str | None = None) -> tuple[Document, ...]:
        """Return the living documents, of one source or of all, in order of source and uri."""
        query = DOCUMENTS.order_by(documents.c.source, documents.c.uri)
        if source is not None:
            query = query.where(documents.c.source == source)
        with self._database.read() as connection:
            return tuple(to_document(row) for row in connection.execute(query))

    def text(self, document_id: str) -> str:
        """Return the whole text that chunk offsets count in.

        Raises:
            Unknown: no such document.
        """
        query = select(documents.c.text).where(documents.c.id == document_id)
        with self._database.read() as connection:
            found = connection.execute(query).scalar_one_or_none()
        if found is None:
            raise _unknown(document_id)
        return str(found)

    def classes(self) -> tuple[AccessClass, ...]:
        """Return the access classes that living documents have."""
        living = select(documents.c.class_id)
        query = CLASSES.where(access_classes.c.id.in_(living)).order_by(access_classes.c.id)
        with self._database.read() as connection:
            return tuple(to_access_class(row) for row in connection.execute(query))

    def chunks(self, ids: Sequence[int]) -> dict[int, tuple[Chunk, Document]]:
        """Return those of the chunks that are alive, with their documents: the check after a search."""
        found: dict[int, tuple[Chunk, Document]] = {}
        with self._database.read() as connection:
            for start in range(0, len(ids), _IDS_PER_QUERY):
                some = [int(number) for number in ids[start : start + _IDS_PER_QUERY]]
                for row in connection.execute(CHUNKS.where(chunks.c.id.in_(some))):
                    found[row.chunk_id] = (to_chunk(row), to_document(row))
        return found

    def change_number(self) -> int:
        """Return the number of the latest change; it moves with every put, relabel and remove."""
        with self._database.read() as connection:
            return changes.number(connection)

    def changes(self, after: int, embedder: str, limit: int = 5000) -> Changes:
        """Return at most `limit` changes numbered above `after`, in the order they were committed.

        Chunks whose vectors another embedder made are left out. Start again from `number` of the result
        until it equals `after`.
        """
        with self._database.read() as connection:
            return changes.read(connection, after, embedder, limit)


def _unknown(document_id: str) -> Unknown:
    return Unknown(f"There is no document {document_id}.", remedy="List them with `assistant documents`.")


def _remove_chunks(connection: Connection, document_id: str) -> int:
    ids = connection.execute(select(chunks.c.id).where(chunks.c.document_id == document_id)).scalars().all()
    if ids:
        first = changes.take(connection, len(ids))
        rows = [{"chunk_id": number, "change": first + position} for position, number in enumerate(ids)]
        connection.execute(insert(removals), rows)
        connection.execute(delete(chunks).where(chunks.c.document_id == document_id))
    return len(ids)


def _class_id(connection: Connection, labels: Labels) -> int:
    """Return the number of the labels' class, made when it is new; writers hold the change counter."""
    query = select(access_classes.c.id).where(access_classes.c.digest == labels.digest)
    known = connection.execute(query).scalar_one_or_none()
    if known is not None:
        return int(known)
    values = {
        "digest": labels.digest,
        "source": labels.source,
        "principals": json.dumps(sorted(labels.principals), ensure_ascii=False),
        "department": labels.department,
        "classification": labels.classification,
        "residency": labels.residency,
    }
    made = connection.execute(insert(access_classes).values(values).returning(access_classes.c.id))
    return int(made.scalar_one())


def _write_document(
    connection: Connection, identity: str, document: NewDocument, class_id: int, embedder: str
) -> None:
    values = {
        "source": document.source,
        "uri": document.uri,
        "title": document.title,
        "media_type": document.media_type,
        "content_digest": document.content_digest,
        "fingerprint": document.fingerprint,
        "size_bytes": document.size_bytes,
        "class_id": class_id,
        "dated": document.dated,
        "supersedes": document.supersedes,
        "language": document.language,
        "embedder": embedder,
        "recipe": document.recipe,
        "ingested_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "text": document.text,
    }
    changed = connection.execute(update(documents).where(documents.c.id == identity).values(values))
    if not changed.rowcount:
        connection.execute(insert(documents).values(id=identity, **values))
