"""Documents, chunks and vectors in SQL: the truth that every index follows.

It owns the transactions that put, relabel and remove a document, each of them whole or not at all, and
the numbered changes from which indexes catch up. It refuses to judge who may read what: whoever reads for
a person does so through `readable`, with the classes that person may read. `get`, `find`, `list` and
`text` look past access: they are for ingest and for the operator of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sqlalchemy import delete, func, select, update

from assistant import minhash
from assistant.errors import StoreError
from assistant.store import changes, classes, likenesses, unrecorded, writing
from assistant.store.database import Database
from assistant.store.likenesses import Likenesses
from assistant.store.readable import Readable
from assistant.store.records import (
    Changes,
    IndexedChunk,
    NewChunk,
    NewDocument,
    Removed,
    Stored,
    VectorChanges,
    Vectors,
)
from assistant.store.rows import DOCUMENTS, to_document
from assistant.store.schema import access_classes, documents
from assistant.store.unrecorded import Unrecorded
from assistant.store.writing import document_id
from assistant.types import AccessClass, Document, Labels

__all__ = ["Changes", "Documents", "IndexedChunk", "NewChunk", "NewDocument", "Stored", "document_id"]

REMOVALS_KEPT = 100_000
_LOOKED_AT_TOGETHER = 200


class Documents:
    """The document store."""

    def __init__(self, database: Database, *, editions: bool = True) -> None:
        """Look after the documents of a database.

        Args:
            editions: whether a later edition, told by its name and likeness, replaces an older one.
        """
        self._database, self._editions = database, editions

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
        sketched = minhash.sketch(document.text)
        with self._database.write() as connection:
            first = changes.take(connection, len(new_chunks))
            identity = writing.identity(connection, document.source, document.uri)
            writing.remove_chunks(connection, identity)
            before = classes.of(connection, identity)
            class_id = classes.numbered(connection, document.labels)
            writing.write_document(connection, identity, document, class_id, embedder)
            classes.drop_unused(connection, before)
            writing.settle(connection, document.source, document.uri)
            writing.add_chunks(connection, identity, new_chunks, vectors, first)
            stored = to_document(connection.execute(DOCUMENTS.where(documents.c.id == identity)).one())
            likenesses.write(connection, stored, sketched, over=before is not None)
            return stored

    def relabel(self, document_id: str, labels: Labels) -> None:
        """Move a document to the access class of `labels`; nothing is embedded again.

        Raises:
            Unknown: no such document.
        """
        with self._database.write() as connection:
            changes.take(connection, 0)  # the lock, before anything is read
            writing.relabel(connection, document_id, labels)

    def rename(self, document_id: str, uri: str, *, fingerprint: str, labels: Labels, title: str) -> Document:
        """Move a document to another place of its source; its id, text, chunks and vectors stay.

        Whoever renames hands in the labels of the new place, and the title it has there: one that is not
        the old title is found by its words at once, and by its meaning when the document is next embedded.
        What it supersedes stays so, and a document that supersedes it does so at its new place.

        Raises:
            Unknown: no such document.
            StoreError: another document is at that place.
        """
        with self._database.write() as connection:
            changes.take(connection, 0)
            old = connection.execute(DOCUMENTS.where(documents.c.id == document_id)).one_or_none()
            if old is None:
                raise writing.unknown(document_id)
            there = writing.at(connection, old.source, uri)
            if there not in (None, document_id):
                raise StoreError(
                    f"{old.uri} cannot be renamed to {uri}: a document is there.", remedy="Remove that first."
                )
            values = {"uri": uri, "fingerprint": fingerprint, "title": title}
            connection.execute(update(documents).where(documents.c.id == document_id).values(values))
            writing.relabel(connection, document_id, labels)
            writing.follow(connection, old.source, old.uri, uri)
            writing.settle(connection, old.source, uri)
            renamed = to_document(connection.execute(DOCUMENTS.where(documents.c.id == document_id)).one())
            likenesses.moved(connection, renamed)
            return renamed

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
                raise writing.unknown(document_id)

    def remove(self, document_id: str, *, by: str = "ingest") -> Removed:
        """Delete a document with its chunks and vectors, and say what went.

        The removal is noted in the same transaction, until the audit log names it (`unrecorded`).

        Args:
            by: who removes it, for the log.

        Raises:
            Unknown: no such document.
        """
        with self._database.write() as connection:
            changes.take(connection, 0)
            row = connection.execute(DOCUMENTS.where(documents.c.id == document_id)).one_or_none()
            if row is None:
                raise writing.unknown(document_id)
            removed = writing.remove_chunks(connection, document_id)
            connection.execute(delete(documents).where(documents.c.id == document_id))
            classes.drop_unused(connection, row.class_id)
            writing.settle(connection, row.source, row.uri)
            if not removed:
                changes.take(connection, 1)  # a number of its own, to be told from other removals by
            document, number = to_document(row), changes.number(connection)
            note = Unrecorded.of(document, change=number, chunks=removed, by=by)
            unrecorded.note(connection, note)
            return Removed(document=document, note=note)

    def prune(self, keep: int = REMOVALS_KEPT) -> int:
        """Forget all but the latest `keep` removals, and return how many went.

        An index that had not followed so far is told so by `changes`, and built anew.
        """
        with self._database.write() as connection:
            changes.take(connection, 0)
            return changes.prune(connection, keep)

    def readable(self, permitted: frozenset[int]) -> Readable:
        """Return what a person may read, who may read these access classes: the only way to chunks by id.

        Args:
            permitted: as `Permissions.permitted` decides it.
        """
        return Readable(self._database, permitted)

    def likenesses(self, permitted: frozenset[int]) -> Likenesses:
        """Return what documents that these access classes permit have in common; see `readable`."""
        return Likenesses(self._database, permitted, editions=self._editions)

    def look_at_all(self, proceed: Callable[[], None] = lambda: None) -> int:
        """Note what documents of an older schema are like, while `proceed` raises nothing; say how many."""
        with self._database.read() as connection:
            if not likenesses.unknown(connection, 1):
                return 0  # every ingest asks: nobody has to wait for that
        count = 0
        while True:
            proceed()
            with self._database.write() as connection:
                changes.take(connection, 0)
                some = likenesses.unknown(connection, _LOOKED_AT_TOGETHER)
                for document, text in some:
                    likenesses.write(connection, document, minhash.sketch(text), over=False)
            if not some:
                return count
            count += len(some)

    def unrestricted(self) -> Readable:
        """Return what the operator of this machine may read: everything. Nobody is asked about access."""
        return self.readable(self.class_ids())

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
            documents.c.size_bytes,
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
        query = DOCUMENTS.where(documents.c.source == source, documents.c.uri == uri)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return to_document(row) if row else None

    def count(self) -> int:
        """Return the number of living documents."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(documents)).scalar_one())

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
            raise writing.unknown(document_id)
        return str(found)

    def classes(self, above: int = 0) -> tuple[AccessClass, ...]:
        """Return the access classes that living documents have, those numbered above `above`, in order.

        A class never changes, and a new one gets a higher number than all before it.
        """
        with self._database.read() as connection:
            return classes.above(connection, above)

    def class_ids(self) -> frozenset[int]:
        """Return the ids of `classes`."""
        with self._database.read() as connection:
            return classes.ids(connection)

    def embedded_by(self, known: str) -> str:
        """Return the digest `known` while a vector is of that embedder, or none is stored; else another's."""
        one = select(documents.c.embedder).limit(1)
        with self._database.read() as connection:
            own = connection.execute(one.where(documents.c.embedder == known)).scalar_one_or_none()
            return own or connection.execute(one).scalar_one_or_none() or known

    def class_changes(self) -> int:
        """Return how often an access class came or went; it costs one read of one row."""
        return changes.counted(self._database.rows(changes.COUNTER))[1]

    def change_number(self) -> int:
        """Return the number of the latest change; it moves with every put, relabel and remove."""
        return changes.counted(self._database.rows(changes.COUNTER))[0]

    def changes(self, after: int, embedder: str, limit: int = 5000) -> Changes:
        """Return at most `limit` changes numbered above `after`, in the order they were committed.

        Chunks whose vectors another embedder made are left out. Start again from `number` of the result
        until it equals `after`.

        Raises:
            IndexDamaged: removals after that number were pruned; begin anew from 0.
        """
        with self._database.read() as connection:
            return changes.read(connection, after, embedder, limit)

    def vectors(self, after: int, embedder: str, limit: int = 20_000) -> VectorChanges:
        """Return changes as `changes` does, with vectors and without texts.

        Raises:
            IndexDamaged: removals after that number were pruned; begin anew from 0.
        """
        with self._database.read() as connection:
            return changes.read_vectors(connection, after, embedder, limit)
