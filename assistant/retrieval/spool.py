"""A file that takes vectors as the database yields them, when they are too many to be held in memory.

It owns that file and the numbers beside it; it refuses to outlive the writing of one generation.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from assistant.retrieval.generation import Block
from assistant.retrieval.rows import Half, Numbers
from assistant.retrieval.tail import GONE
from assistant.store.records import VectorChanges


class Spool:
    """A context manager; `block` can be asked for while it is open."""

    def __init__(self, file: Path, dimensions: int) -> None:
        self._file, self._dimensions = file, dimensions
        self._ids: list[Numbers] = []
        self._classes: list[Numbers] = []

    def __enter__(self) -> Spool:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._file.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._file.unlink(missing_ok=True)

    def add(self, changes: VectorChanges) -> None:
        """Take the next changes. A removal is noted as a row that does not live.

        Raises:
            OSError: the file cannot be written.
        """
        changes.vectors.tofile(self._stream)
        self._ids += [changes.ids, changes.removed]
        self._classes += [changes.class_ids, np.full(len(changes.removed), GONE, dtype=np.int64)]
        np.zeros((len(changes.removed), self._dimensions), dtype=np.float16).tofile(self._stream)

    def block(self) -> Block:
        """Return all rows taken so far, in order."""
        self._stream.flush()
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *self._ids])
        classes = np.concatenate([np.zeros(0, dtype=np.int64), *self._classes])
        if not len(ids):
            return Block(ids=ids, classes=classes, take=lambda rows: np.zeros((0, 0), dtype=np.float16))
        vectors = np.memmap(self._file, dtype=np.float16, mode="r", shape=(len(ids), self._dimensions))

        def take(rows: Numbers) -> Half:
            return np.asarray(vectors[rows])

        return Block(ids=ids, classes=classes, take=take)
