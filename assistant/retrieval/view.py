"""What a search sees: one generation, if there is one, and the rows that came after it.

It owns how the two are followed and searched as one. It refuses to know files and processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.generation import Block, Check, Generation
from assistant.retrieval.rows import Numbers, Single, top
from assistant.retrieval.tail import Tail
from assistant.store.records import VectorChanges


@dataclass(slots=True, kw_only=True)
class View:
    """A generation, and what came after it up to change `number`; `saved` is the generation's own."""

    tail: Tail
    base: Generation | None = None
    check: Check | None = None
    number: int = 0
    saved: int = 0

    def __len__(self) -> int:
        return len(self.tail) + (len(self.base) if self.base else 0)

    @property
    def damaged(self) -> bool:
        """Whether a file of the generation turned out to be."""
        return self.check is not None and self.check.damaged

    @property
    def loose(self) -> int:
        """Rows that the next generation would take up or drop."""
        return self.tail.size + (self.base.gone if self.base else 0)

    def best(self, question: Single, classes: Numbers, limit: int) -> tuple[Numbers, Single]:
        """Return the ids of the `limit` best chunks of these classes, with inner products, best first.

        The generation is searched first and its rows leave it last (`apply`), so that a chunk which moves
        meanwhile is in one of them; met in both, it counts once.
        """
        if not self.base:
            return self.tail.best(question, classes, limit)
        ids, scores = self.base.best(question, classes, limit)
        more, theirs = self.tail.best(question, classes, limit)
        fresh = ~np.isin(more, ids)
        return top(np.concatenate([ids, more[fresh]]), np.concatenate([scores, theirs[fresh]]), limit)

    def take(self, ids: Sequence[int]) -> tuple[list[int], Single]:
        """Return those of the chunks that are here, and their vectors, shape (chunks, dimensions)."""
        found, vectors = self.tail.take(ids)
        if self.base and (others := sorted(set(ids) - set(found))):
            rows = self.base.find(np.array(others, dtype=np.int64))
            here = rows >= 0
            found += np.array(others)[here].tolist()
            vectors = np.concatenate([vectors, self.base.rows.take(rows[here])])
        return found, vectors.astype(np.float32)

    def blocks(self) -> list[Block]:
        """Return what is here now, as it is written into a generation."""
        ids, classes, vectors = self.tail.block()
        tail = Block(ids=ids, classes=classes, take=lambda rows: vectors[rows])
        return [self.base.block(), tail] if self.base else [tail]

    def apply(self, changes: VectorChanges) -> None:
        """Follow one page of changes; a chunk's vector never changes, its class may.

        What is of another class now goes on in the tail, and leaves the generation only then.
        """
        leaving, staying = self._in_base(changes)
        for row, id in enumerate(changes.ids.tolist()):
            if id in self.tail:
                self.tail.move(id, int(changes.class_ids[row]))
                staying[row] = True
        if not staying.all():
            fresh = ~staying
            self.tail.add(changes.ids[fresh], changes.class_ids[fresh], changes.vectors[fresh])
        for id in changes.removed.tolist():
            self.tail.remove(id)
        if self.base:
            self.base.remove(leaving)
        self.number = changes.number

    def _in_base(self, changes: VectorChanges) -> tuple[Numbers, NDArray[np.bool_]]:
        """Return the rows that leave the generation, and which of the changed chunks stay as they are."""
        if not self.base:
            return np.zeros(0, dtype=np.int64), np.zeros(len(changes.ids), dtype=bool)
        rows = self.base.find(changes.ids)
        staying = rows >= 0
        staying[staying] = self.base.class_of(rows[staying]) == changes.class_ids[staying]
        removed = self.base.find(changes.removed)
        return np.unique(np.concatenate([rows[(rows >= 0) & ~staying], removed[removed >= 0]])), staying
