"""The numbering of changes, in the order in which they are committed, and the reading of them.

Numbers are taken inside the transaction that changes something, and whoever takes one holds the counter
until its commit: a reader that has seen a number has seen every smaller one. It refuses to be read
without a limit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Select, delete, select, text, update

from assistant.errors import IndexDamaged, StoreError
from assistant.store.records import Changes, IndexedChunk, VectorChanges, title_path
from assistant.store.rows import INDEXED, INDEXED_VECTORS
from assistant.store.schema import change_counter, chunks, documents, removals

COUNTER = "SELECT number, classes FROM change_counter"


def number(connection: Connection) -> int:
    """Return the number of the latest change.

    Raises:
        StoreError: the counter is gone.
    """
    return counted(connection.execute(text(COUNTER)).all())[0]


def counted(rows: Sequence[Sequence[Any]]) -> tuple[int, int]:
    """Return the number of the latest change, and how often an access class came or went.

    Args:
        rows: what `COUNTER` gave.

    Raises:
        StoreError: the counter is gone.
    """
    if not rows:
        raise StoreError("The database holds no change counter.", remedy="Restore it from a backup.")
    number, classes = rows[0]
    return int(number), int(classes)


def take(connection: Connection, count: int) -> int:
    """Reserve `count` numbers and return the first; other writers wait until we commit."""
    query = (
        update(change_counter)
        .values(number=change_counter.c.number + count)
        .returning(change_counter.c.number)
    )
    return int(connection.execute(query).scalar_one()) - count + 1


def prune(connection: Connection, keep: int) -> int:
    """Forget all but the latest `keep` removals and note up to which; return how many went."""
    last = select(removals.c.change).order_by(removals.c.change.desc()).offset(keep).limit(1)
    number = connection.execute(last).scalar_one_or_none()
    if number is None:
        return 0
    connection.execute(update(change_counter).values(pruned=number))
    return connection.execute(delete(removals).where(removals.c.change <= number)).rowcount


def read(connection: Connection, after: int, embedder: str, limit: int) -> Changes:
    """Return at most `limit` changes numbered above `after`; see `Documents.changes`."""
    latest, new, gone = _page(connection, INDEXED, after, embedder, limit)
    return Changes(
        number=latest,
        upserted=tuple(
            IndexedChunk(
                id=row.id,
                class_id=row.class_id,
                text=row.text,
                headings_text=title_path(row.title, tuple(json.loads(row.headings))),
                vector=np.frombuffer(row.vector, dtype=np.float16),
            )
            for row in new
        ),
        removed=tuple(gone),
    )


def read_vectors(connection: Connection, after: int, embedder: str, limit: int) -> VectorChanges:
    """Return at most `limit` changes numbered above `after`; see `Documents.vectors`."""
    latest, new, gone = _page(connection, INDEXED_VECTORS, after, embedder, limit)
    ids, _, vectors, class_ids = zip(*new, strict=True) if new else ((), (), (), ())
    return VectorChanges(
        number=latest,
        ids=np.array(ids, dtype=np.int64),
        class_ids=np.array(class_ids, dtype=np.int64),
        vectors=np.frombuffer(b"".join(vectors), dtype=np.float16).reshape(len(ids), -1 if ids else 0),
        removed=np.array(gone, dtype=np.int64),
    )


def _page(
    connection: Connection, columns: Select[tuple[Any, ...]], after: int, embedder: str, limit: int
) -> tuple[int, list[Row[*tuple[Any, ...]]], list[int]]:
    """Return up to which number a page of changes goes, the chunks in it and the ids of removed ones."""
    pruned = connection.execute(select(change_counter.c.pruned)).scalar_one_or_none() or 0
    if 0 < after < pruned:
        raise IndexDamaged(
            f"An index is at change {after}, and removals up to {pruned} were pruned.",
            remedy="It is built anew from the database.",
        )
    upserts = columns.where(chunks.c.change > after, documents.c.embedder == embedder)
    removed = select(removals.c.change, removals.c.chunk_id).where(removals.c.change > after)
    latest = number(connection)
    new = connection.execute(upserts.order_by(chunks.c.change).limit(limit)).all()
    gone = connection.execute(removed.order_by(removals.c.change).limit(limit)).all()
    numbers = sorted([row.change for row in new] + [row.change for row in gone])
    if len(numbers) > limit or limit in (len(new), len(gone)):
        latest = numbers[limit - 1]
    return (
        latest,
        [row for row in new if row.change <= latest],
        [row.chunk_id for row in gone if row.change <= latest],
    )
