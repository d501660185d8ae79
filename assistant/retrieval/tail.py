"""Rows added or moved since the last generation: few, in memory, ranked exactly.

Rows are only ever appended, in memory that is not moved under a reader, so that searches need no lock. It
refuses to grow without bound: its owner folds it into the next generation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assistant.retrieval.rows import Half, Numbers, Rows, Single

GONE = -1
_FIRST_CAPACITY = 256


class Tail:
    """Vectors with chunk id and access class. One thread changes it while others search."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions, self._count = dimensions, 0
        self._row_of: dict[int, int] = {}
        self._ids: Numbers = np.zeros(0, dtype=np.int64)
        self._classes: Numbers = np.zeros(0, dtype=np.int64)
        self._rows = Rows.empty(0, dimensions)

    def __len__(self) -> int:
        """Rows that live."""
        return len(self._row_of)

    @property
    def size(self) -> int:
        """Rows that live or lived."""
        return self._count

    def __contains__(self, id: int) -> bool:
        return id in self._row_of

    def add(self, ids: Numbers, classes: Numbers, vectors: Half) -> None:
        """Append chunks that are not here."""
        first, count = self._count, self._count + len(ids)
        if count > len(self._ids):
            self._grow(max(2 * len(self._ids), count, _FIRST_CAPACITY))
        self._rows.put(first, vectors)
        self._ids[first:count], self._classes[first:count] = ids, classes
        self._row_of.update(zip(ids.tolist(), range(first, count), strict=True))
        self._count = count

    def move(self, id: int, class_id: int) -> None:
        """Give a chunk that is here another access class."""
        self._classes[self._row_of[id]] = class_id

    def remove(self, id: int) -> None:
        """Forget a chunk, if it is here."""
        row = self._row_of.pop(id, None)
        if row is not None:
            self._classes[row] = GONE

    def best(self, question: Single, classes: Numbers, limit: int) -> tuple[Numbers, Single]:
        """Return the ids of the `limit` best chunks of these classes, with inner products, best first."""
        count = self._count
        rows = np.flatnonzero(np.isin(self._classes[:count], classes))
        found, scores = self._rows.best(question, rows, limit)
        return self._ids[found], scores

    def take(self, ids: Sequence[int]) -> tuple[list[int], Half]:
        """Return those of the chunks that are here, and their vectors, shape (chunks, dimensions)."""
        rows = {id: row for id in ids if (row := self._row_of.get(id)) is not None}
        return list(rows), self._rows.take(np.fromiter(rows.values(), dtype=np.int64, count=len(rows)))

    def block(self) -> tuple[Numbers, Numbers, Half]:
        """Return ids, classes (`GONE` where a row no longer lives) and vectors as they are now."""
        rows = np.arange(self._count)
        return self._ids[rows], self._classes[rows], self._rows.take(rows)

    def _grow(self, capacity: int) -> None:
        """Go over to larger tables; readers of the old ones find there what they have begun to read."""
        ids, classes, vectors = self.block()
        larger = Rows.empty(capacity, self._dimensions)
        larger.put(0, vectors)
        self._rows, old = larger, len(ids)
        self._ids = np.concatenate([ids, np.zeros(capacity - old, dtype=np.int64)])
        self._classes = np.concatenate([classes, np.full(capacity - old, GONE, dtype=np.int64)])
