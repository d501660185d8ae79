"""What a search sees: one generation, if there is one, and the rows that came after it.

It owns how the two are followed and searched as one. It refuses to know files and processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
        """Return the ids of the `limit` best chunks of these classes, with inner products, best first."""
        ids, scores = self.tail.best(question, classes, limit)
        if self.base:
            more, theirs = self.base.best(question, classes, limit)
            ids, scores = top(np.concatenate([more, ids]), np.concatenate([theirs, scores]), limit)
        return ids, scores

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
        """Follow one page of changes; a chunk's vector never changes, its class may."""
        if self.base:
            self._leave_base(self.base, changes)
        fresh = [row for row, id in enumerate(changes.ids.tolist()) if id not in self.tail]
        known = set(range(len(changes.ids))) - set(fresh)
        for row in known:
            self.tail.move(int(changes.ids[row]), int(changes.class_ids[row]))
        if self.base and fresh:
            kept = self.base.find(changes.ids[fresh]) >= 0
            fresh = [row for row, stays in zip(fresh, kept.tolist(), strict=True) if not stays]
        if fresh:
            self.tail.add(changes.ids[fresh], changes.class_ids[fresh], changes.vectors[fresh])
        for id in changes.removed.tolist():
            self.tail.remove(id)
        self.number = changes.number

    def _leave_base(self, base: Generation, changes: VectorChanges) -> None:
        """Mark as gone what is removed or of another class now; the latter goes on in the tail."""
        rows = base.find(changes.ids)
        here = rows >= 0
        moved = here.copy()
        moved[here] = base.class_of(rows[here]) != changes.class_ids[here]
        removed = base.find(changes.removed)
        base.remove(np.unique(np.concatenate([rows[moved], removed[removed >= 0]])))
