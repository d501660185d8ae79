"""Vectors of the next embedder, kept beside those that serve until all of them are there.

It owns what is missing, what was added, and the one transaction that swaps. Until then nothing that serves
sees it; a chunk that is removed takes its vector here with it. It refuses to embed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Column, ColumnElement, Select, and_, bindparam, delete, func, insert, select, update

from assistant.store import changes
from assistant.store.database import Database
from assistant.store.records import Vectors, title_path
from assistant.store.schema import beside, chunks, documents

_HOW_MANY = func.count(chunks.c.id)


class Beside:
    """The vectors of the embedder with a digest, beside those of any other one."""

    def __init__(self, database: Database, embedder: str) -> None:
        self._database, self._embedder = database, embedder

    def left(self) -> int:
        """Return how many chunks of other embedders still have no vector here."""
        with self._database.read() as connection:
            return int(connection.execute(self._missing(_HOW_MANY)).scalar_one())

    def missing(self, limit: int) -> dict[int, str]:
        """Return some of those chunks: ids, and the texts to embed."""
        query = self._missing(chunks.c.id, documents.c.title, chunks.c.headings, chunks.c.text)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(chunks.c.id).limit(limit)).all()
        return {
            row.id: f"{title_path(row.title, tuple(json.loads(row.headings)))}\n{row.text}" for row in rows
        }

    def add(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Keep vectors, stored as float16, of those of the chunks that are still there.

        Args:
            vectors: shape (ids, dimensions).
        """
        with self._database.write() as connection:
            changes.take(connection, 0)
            known = select(chunks.c.id).where(chunks.c.id.in_(ids))
            living = set(connection.execute(known).scalars())
            connection.execute(delete(beside).where(beside.c.chunk_id.in_(ids)))
            rows = [
                {"chunk_id": number, "embedder": self._embedder, "vector": vector.tobytes()}
                for number, vector in zip(ids, vectors.astype(np.float16), strict=True)
                if number in living
            ]
            if rows:
                connection.execute(insert(beside), rows)

    def swap(self) -> bool:
        """Put the vectors in place of the others, all at once; False if some are missing still.

        Every chunk takes a new change number: indexes of this embedder follow, those of another one keep
        what they hold until theirs take over.
        """
        with self._database.write() as connection:
            changes.take(connection, 0)
            if connection.execute(self._missing(_HOW_MANY)).scalar_one():
                return False
            own = beside.c.embedder == self._embedder
            ids = connection.execute(select(beside.c.chunk_id).where(own)).scalars().all()
            first = changes.take(connection, len(ids))
            if ids:
                vector = select(beside.c.vector).where(beside.c.chunk_id == chunks.c.id).scalar_subquery()
                move = update(chunks).where(chunks.c.id == bindparam("chunk"))
                connection.execute(
                    move.values(vector=vector, change=bindparam("number")),
                    [{"chunk": chunk, "number": first + place} for place, chunk in enumerate(ids)],
                )
            connection.execute(delete(beside))
            others = update(documents).where(documents.c.embedder != self._embedder)
            connection.execute(others.values(embedder=self._embedder))
        return True

    def _missing(self, *columns: ColumnElement[Any] | Column[Any]) -> Select[*tuple[Any, ...]]:
        here = and_(beside.c.chunk_id == chunks.c.id, beside.c.embedder == self._embedder)
        joined = chunks.join(documents, documents.c.id == chunks.c.document_id).outerjoin(beside, here)
        other = documents.c.embedder != self._embedder
        return select(*columns).select_from(joined).where(other, beside.c.chunk_id.is_(None))
