"""How documents, chunks and classes are selected, and how a row becomes a value. It runs no query."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, Select, or_, select

from assistant.store.schema import access_classes, chunks, documents
from assistant.types import AccessClass, Chunk, Classification, Document, Labels

_newer = documents.alias("newer")
_superseded_by = (
    select(_newer.c.id)
    .where(
        _newer.c.source == documents.c.source,
        _newer.c.supersedes == documents.c.uri,
        _newer.c.id != documents.c.id,
    )
    .order_by(_newer.c.dated.desc().nulls_last(), _newer.c.id)
    .limit(1)
    .correlate(documents)
    .scalar_subquery()
    .label("superseded_by")
)
_CLASS_COLUMNS = (
    access_classes.c.id.label("class_id"),
    access_classes.c.source.label("class_source"),
    access_classes.c.principals,
    access_classes.c.department,
    access_classes.c.classification,
    access_classes.c.residency,
)
_DOCUMENT_COLUMNS = (
    documents.c.id.label("document_id"),
    documents.c.source,
    documents.c.uri,
    documents.c.title,
    documents.c.media_type,
    documents.c.content_digest,
    documents.c.size_bytes,
    documents.c.dated,
    documents.c.ingested_at,
    _superseded_by,
    *_CLASS_COLUMNS,
)
_CHUNK_COLUMNS = (
    chunks.c.id.label("chunk_id"),
    chunks.c.ordinal,
    chunks.c.text,
    chunks.c.start,
    chunks.c.end.label("end_"),
    chunks.c.page,
    chunks.c.headings,
)

CLASSES = select(*_CLASS_COLUMNS)
DOCUMENTS = select(*_DOCUMENT_COLUMNS).join_from(documents, access_classes)
CHUNKS = (
    select(*_CHUNK_COLUMNS, *_DOCUMENT_COLUMNS)
    .join_from(chunks, documents)
    .join(access_classes, access_classes.c.id == documents.c.class_id)
)
INDEXED = select(
    chunks.c.id,
    chunks.c.change,
    chunks.c.text,
    chunks.c.headings,
    chunks.c.vector,
    documents.c.class_id,
    documents.c.title,
).join_from(chunks, documents)
INDEXED_VECTORS = select(chunks.c.id, chunks.c.change, chunks.c.vector, documents.c.class_id).join_from(
    chunks, documents
)


def named(name: str) -> Select[tuple[Any, ...]]:
    """Select the documents that an id, `source:uri` or a uri means, in order of their sources."""
    place = documents.c.source + ":" + documents.c.uri
    means = or_(documents.c.id == name, documents.c.uri == name, place == name)
    return DOCUMENTS.where(means).order_by(documents.c.source)


def to_access_class(row: Row[*tuple[Any, ...]]) -> AccessClass:
    """Make an access class of a row of `CLASSES`, `DOCUMENTS` or `CHUNKS`."""
    return _access_class(
        row.class_id, row.class_source, row.principals, row.department, row.classification, row.residency
    )


@lru_cache(maxsize=8192)
def _access_class(
    id: int,
    source: str,
    principals: str,
    department: str | None,
    classification: Classification,
    residency: str | None,
) -> AccessClass:
    """Make a class of its columns, once for the many chunks that are of it."""
    labels = Labels(
        source=source,
        principals=frozenset(json.loads(principals)),
        department=department,
        classification=classification,
        residency=residency,
    )
    return AccessClass(id=id, labels=labels)


def to_document(row: Row[*tuple[Any, ...]]) -> Document:
    """Make a document of a row of `DOCUMENTS` or `CHUNKS`."""
    return Document(
        id=row.document_id,
        source=row.source,
        uri=row.uri,
        title=row.title,
        media_type=row.media_type,
        content_digest=row.content_digest,
        size_bytes=row.size_bytes,
        access_class=to_access_class(row),
        dated=row.dated,
        superseded_by=row.superseded_by,
        ingested_at=datetime.fromisoformat(row.ingested_at),
    )


def to_chunk(row: Row[*tuple[Any, ...]]) -> Chunk:
    """Make a chunk of a row of `CHUNKS`."""
    return Chunk(
        id=row.chunk_id,
        document_id=row.document_id,
        ordinal=row.ordinal,
        text=row.text,
        start=row.start,
        end=row.end_,
        page=row.page,
        headings=tuple(json.loads(row.headings)),
    )
