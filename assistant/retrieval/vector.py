"""The dense index: exact inner products over permitted chunks only, derived from the database.

A flat FAISS index in memory with one bit a row for "this user may read it", so that ranking never sees
what is not permitted. It follows the database's changes, is saved as one file that is swapped in
atomically, and is built anew when that file is missing, damaged, of another embedder, or ahead of the
database. It refuses approximate search: with sparse permissions it loses what is permitted (faiss #5504).
"""

from __future__ import annotations

import fcntl
import json
import os
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from assistant.errors import IndexDamaged
from assistant.retrieval.changes import follow
from assistant.store.documents import Changes, Documents

_GONE = -1
_FORMAT = 1
_MASKS_KEPT = 64
_COMPACT_ABOVE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A chunk id with the score its index gave it."""

    id: int
    score: float


class VectorIndex:
    """Rows of vectors with chunk id and access class; `number` is the last change it has seen."""

    def __init__(self, file: Path, *, embedder: str, dimensions: int) -> None:
        self._file, self._embedder, self._dimensions = file, embedder, dimensions
        self._clear()
        try:
            self._load()
        except IndexDamaged:
            self._clear()

    def __len__(self) -> int:
        return len(self._row_of)

    def catch_up(self, documents: Documents) -> None:
        """Apply every change of the database since the last one seen."""
        current = documents.change_number()
        if current < self.number:
            self._clear()
            self._file.unlink(missing_ok=True)  # it speaks of another history
        if current == self.number:
            return
        for changes in follow(documents, self.number, self._embedder):
            self._apply(changes)
        self._masks.clear()
        self._compact()

    def search(self, question: NDArray[np.float32], permitted: frozenset[int], limit: int) -> list[Hit]:
        """Return the `limit` most similar chunks among those of the permitted classes, best first."""
        mask, count = self._mask(permitted)
        if not count:
            return []
        selector = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(mask))  # type: ignore[call-arg, arg-type]
        scores, rows = self._vectors.search(question[None], min(limit, count), params=selector)
        return [
            Hit(id=int(self._ids[row]), score=float(score))
            for score, row in zip(scores[0], rows[0], strict=True)
            if row >= 0
        ]

    def similarities(self, question: NDArray[np.float32], ids: Sequence[int]) -> dict[int, float]:
        """Cosine of the question to each of the chunks that are indexed."""
        known = [number for number in ids if number in self._row_of]
        return {number: float(self._vectors.reconstruct(self._row_of[number]) @ question) for number in known}

    def save(self) -> None:
        """Write the index beside and swap it in, unless another process is doing so or is further."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._saved_number() < self.number:
                self._write()

    def _clear(self) -> None:
        self.number = 0
        self._vectors: Any = faiss.IndexFlatIP(self._dimensions)
        self._ids = np.zeros(0, dtype=np.int64)
        self._classes = np.zeros(0, dtype=np.int64)
        self._row_of: dict[int, int] = {}
        self._masks: OrderedDict[frozenset[int], tuple[NDArray[np.uint8], int]] = OrderedDict()

    def _apply(self, changes: Changes) -> None:
        fresh = []
        for chunk in changes.upserted:
            row = self._row_of.get(chunk.id)
            if row is None:
                fresh.append(chunk)
            else:
                self._classes[row] = chunk.class_id  # a chunk's content never changes, its class may
        if fresh:
            self._add(
                np.stack([chunk.vector for chunk in fresh]),
                np.array([chunk.id for chunk in fresh], dtype=np.int64),
                np.array([chunk.class_id for chunk in fresh], dtype=np.int64),
            )
        self._remove(changes.removed)
        self.number = changes.number

    def _add(self, vectors: NDArray[np.float16], ids: NDArray[np.int64], classes: NDArray[np.int64]) -> None:
        first = len(self._ids)
        self._vectors.add(vectors.astype(np.float32))
        self._ids = np.concatenate([self._ids, ids])
        self._classes = np.concatenate([self._classes, classes])
        self._row_of.update((int(number), first + offset) for offset, number in enumerate(ids))

    def _remove(self, ids: Iterable[int]) -> None:
        for number in ids:
            row = self._row_of.pop(number, None)
            if row is not None:
                self._classes[row] = _GONE

    def _mask(self, permitted: frozenset[int]) -> tuple[NDArray[np.uint8], int]:
        """One bit a row, and the number of rows set; kept for the users who ask again."""
        if permitted in self._masks:
            self._masks.move_to_end(permitted)
            return self._masks[permitted]
        highest = int(self._classes.max(initial=0))
        allowed = np.zeros(highest + 2, dtype=bool)  # the last slot is that of rows that are gone
        allowed[[number for number in permitted if 0 <= number <= highest]] = True
        rows = allowed[self._classes]
        self._masks[permitted] = np.packbits(rows, bitorder="little"), int(rows.sum())
        if len(self._masks) > _MASKS_KEPT:
            self._masks.popitem(last=False)
        return self._masks[permitted]

    def _compact(self) -> None:
        gone = len(self._ids) - len(self._row_of)
        if gone > _COMPACT_ABOVE and gone > len(self._row_of):
            vectors, ids, classes, number = *self._living(), self.number
            self._clear()
            self._add(vectors, ids, classes)
            self.number = number

    def _living(self) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]:
        rows = self._classes != _GONE
        vectors = self._vectors.reconstruct_n(0, len(self._ids)) if len(self._ids) else None
        if vectors is None:
            vectors = np.zeros((0, self._dimensions), dtype=np.float32)
        return vectors[rows].astype(np.float16), self._ids[rows], self._classes[rows]

    def _write(self) -> None:
        vectors, ids, classes = self._living()
        about = {"format": _FORMAT, "embedder": self._embedder, "number": self.number}
        beside = self._file.with_suffix(".part")
        with beside.open("wb") as stream:
            np.savez(stream, about=np.array(json.dumps(about)), vectors=vectors, ids=ids, classes=classes)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(self._file)

    def _load(self) -> None:
        """Read the saved file; its zip checksums tell a damaged one.

        Raises:
            IndexDamaged: missing, damaged, or of another embedder.
        """
        try:
            with self._file.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
                about = json.loads(str(saved["about"]))
                vectors, ids, classes = saved["vectors"], saved["ids"], saved["classes"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise IndexDamaged(f"{self._file} cannot be read: {error}.") from error
        whole = vectors.shape == (len(ids), self._dimensions) and len(ids) == len(classes)
        if about.get("format") != _FORMAT or about.get("embedder") != self._embedder or not whole:
            raise IndexDamaged(f"{self._file} is of another embedder or version.")
        self._add(vectors, ids, classes)
        self.number = int(about["number"])

    def _saved_number(self) -> int:
        try:
            with self._file.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
                about = json.loads(str(saved["about"]))
                return int(about["number"]) if about.get("embedder") == self._embedder else _GONE
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return _GONE
