"""The numbering of changes, in the order in which they are committed, and the reading of them.

Numbers are taken inside the transaction that changes something, and whoever takes one holds the counter
until its commit: a reader that has seen a number has seen every smaller one. It refuses to be read
without a limit.
"""

from __future__ import annotations

import json

import numpy as np
from sqlalchemy import Connection, select, update

from assistant.errors import StoreError
from assistant.store.records import Changes, IndexedChunk, title_path
from assistant.store.rows import INDEXED
from assistant.store.schema import change_counter, chunks, documents, removals


def number(connection: Connection) -> int:
    """Return the number of the latest change.

    Raises:
        StoreError: the counter is gone.
    """
    found = connection.execute(select(change_counter.c.number)).scalar_one_or_none()
    if found is None:
        raise StoreError("The database holds no change counter.", remedy="Restore it from a backup.")
    return int(found)


def take(connection: Connection, count: int) -> int:
    """Reserve `count` numbers and return the first; other writers wait until we commit."""
    query = (
        update(change_counter)
        .values(number=change_counter.c.number + count)
        .returning(change_counter.c.number)
    )
    return int(connection.execute(query).scalar_one()) - count + 1


def read(connection: Connection, after: int, embedder: str, limit: int) -> Changes:
    """Return at most `limit` changes numbered above `after`; see `Documents.changes`."""
    upserts = INDEXED.where(chunks.c.change > after, documents.c.embedder == embedder)
    removed = select(removals.c.change, removals.c.chunk_id).where(removals.c.change > after)
    latest = number(connection)
    new = connection.execute(upserts.order_by(chunks.c.change).limit(limit)).all()
    gone = connection.execute(removed.order_by(removals.c.change).limit(limit)).all()
    numbers = sorted([row.change for row in new] + [row.change for row in gone])
    if len(numbers) > limit or limit in (len(new), len(gone)):
        latest = numbers[limit - 1]
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
            if row.change <= latest
        ),
        removed=tuple(row.chunk_id for row in gone if row.change <= latest),
    )
