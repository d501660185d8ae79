"""The steps of a write to documents and chunks, each inside the transaction that `Documents` opened.

It owns how ids are given, how chunks are replaced and how their changes are numbered; it opens no
transaction and takes no decision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from assistant.errors import Unknown
from assistant.store import changes, classes
from assistant.store.records import NewChunk, NewDocument, Vectors
from assistant.store.schema import chunks, documents, removals
from assistant.types import Labels


def document_id(source: str, uri: str, version: int = 0) -> str:
    """Return the id that a document first stored at `uri` of `source` gets, and keeps.

    A higher `version` names another one, for the place of a document that was renamed away from it.
    """
    place = f"{source}\0{uri}" + (f"\0{version}" if version else "")
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def unknown(document_id: str) -> Unknown:
    """Return the error that says so."""
    return Unknown(f"There is no document {document_id}.", remedy="List them with `assistant documents`.")


def add_chunks(
    connection: Connection, document_id: str, new_chunks: Sequence[NewChunk], vectors: Vectors, first: int
) -> None:
    """Insert a document's chunks; their changes are numbered from `first` on."""
    rows = [
        {
            "document_id": document_id,
            "ordinal": chunk.ordinal,
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
            "page": chunk.page,
            "headings": json.dumps(chunk.headings, ensure_ascii=False),
            "vector": vector.tobytes(),
            "change": first + position,
        }
        for position, (chunk, vector) in enumerate(zip(new_chunks, vectors.astype(np.float16), strict=True))
    ]
    if rows:
        connection.execute(insert(chunks), rows)


def remove_chunks(connection: Connection, document_id: str) -> int:
    """Delete a document's chunks, note each as removed, and return how many there were."""
    ids = connection.execute(select(chunks.c.id).where(chunks.c.document_id == document_id)).scalars().all()
    if ids:
        first = changes.take(connection, len(ids))
        rows = [{"chunk_id": number, "change": first + position} for position, number in enumerate(ids)]
        connection.execute(insert(removals), rows)
        connection.execute(delete(chunks).where(chunks.c.document_id == document_id))
    return len(ids)


def relabel(connection: Connection, document_id: str, labels: Labels) -> None:
    """Move a document to the class of the labels; its chunks count as changed."""
    own = select(chunks.c.id).where(chunks.c.document_id == document_id).order_by(chunks.c.id)
    ids = connection.execute(own).scalars().all()
    first = changes.take(connection, len(ids))
    before = classes.of(connection, document_id)
    class_id = classes.numbered(connection, labels)
    changed = connection.execute(
        update(documents).where(documents.c.id == document_id).values(class_id=class_id)
    )
    if not changed.rowcount:
        raise unknown(document_id)
    if ids:
        renumber = update(chunks).where(chunks.c.id == bindparam("own")).values(change=bindparam("to"))
        rows = [{"own": number, "to": first + position} for position, number in enumerate(ids)]
        connection.execute(renumber, rows)
    classes.drop_unused(connection, before)


def follow(connection: Connection, source: str, old: str, new: str) -> None:
    """Let documents that supersede the one at `old` supersede it at `new`, where it stands now."""
    naming = update(documents).where(documents.c.source == source, documents.c.supersedes == old)
    connection.execute(naming.values(supersedes=new, supersedes_else=None))


def settle(connection: Connection, source: str, uri: str) -> None:
    """Let the document at a place, and those that may mean it, supersede what they mean.

    To be called when a document came to that place or left it. Of the two that one may mean, that is the
    longer uri, beside it, before the shorter one, from the root of the source; and one that is there first.
    """
    one, other = documents.c.supersedes, documents.c.supersedes_else
    concerned = (documents.c.uri == uri, one == uri, other == uri)
    better = or_(~_is_there(source, one), func.length(other) > func.length(one))
    swap = update(documents).where(or_(*(and_(documents.c.source == source, each) for each in concerned)))
    connection.execute(
        swap.where(_is_there(source, other), better).values(supersedes=other, supersedes_else=one)
    )


def _is_there(source: str, uri: ColumnElement[str | None]) -> ColumnElement[bool]:
    there = documents.alias("there")
    return exists().where(there.c.source == source, there.c.uri == uri)


def at(connection: Connection, source: str, uri: str) -> str | None:
    """Return the id of the document at a place, if one is there."""
    query = select(documents.c.id).where(documents.c.source == source, documents.c.uri == uri)
    return connection.execute(query).scalar_one_or_none()


def identity(connection: Connection, source: str, uri: str) -> str:
    """Return the id of the document at a place, or the one that a new document gets there."""
    if known := at(connection, source, uri):
        return known
    for version in count():
        new = document_id(source, uri, version)
        if classes.of(connection, new) is None:
            return new
    raise AssertionError("counting does not end")


def write_document(
    connection: Connection, identity: str, document: NewDocument, class_id: int, embedder: str
) -> None:
    """Write a document's row over that of its older version, or as a new one."""
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
        "supersedes_else": document.supersedes_else,
        "language": document.language,
        "embedder": embedder,
        "recipe": document.recipe,
        "ingested_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "text": document.text,
    }
    changed = connection.execute(update(documents).where(documents.c.id == identity).values(values))
    if not changed.rowcount:
        connection.execute(insert(documents).values(id=identity, **values))
