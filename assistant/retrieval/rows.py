"""Vectors in half precision, one a row, ranked exactly: in memory and growing, or mapped from a file.

It owns FAISS's scalar-quantised index, whose file it writes block by block, so that a million vectors
need no memory of their own. It refuses to know chunks and permissions: callers name the rows to rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from assistant.errors import IndexDamaged

Half = NDArray[np.float16]
Single = NDArray[np.float32]
Numbers = NDArray[np.int64]

_COUNT_AT = 8  # after the four letters of the kind and the dimensions (FAISS index_write.cpp)
_LENGTH_BYTES = 8
_SCAN_PER_GATHERED = 80  # measured: gathering a row costs as much as passing over so many


class Rows:
    """A table of vectors. Reading is safe from several threads, also while rows beyond are being set."""

    def __init__(self, index: Any, dimensions: int) -> None:  # noqa: ANN401 - FAISS has no types
        self._index = index
        width = 2 * dimensions
        self._codes: NDArray[np.uint8] = np.zeros((0, width), dtype=np.uint8)
        if index.ntotal:
            memory = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * width)
            self._codes = memory.reshape(index.ntotal, width)

    @classmethod
    def empty(cls, capacity: int, dimensions: int) -> Rows:
        """Make a table in memory with `capacity` rows of zeros, to be set with `put`."""
        index = _quantised(dimensions)
        index.codes.resize(capacity * 2 * dimensions)
        index.ntotal = capacity
        return cls(index, dimensions)

    @classmethod
    def map(cls, file: Path, dimensions: int) -> Rows:
        """Open a file that `write_rows` wrote, without reading it into memory.

        Raises:
            IndexDamaged: it is missing, cut short, or no such file.
        """
        try:
            index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise IndexDamaged(f"{file} cannot be read: {error}.") from error
        if not isinstance(index, faiss.IndexScalarQuantizer) or index.d != dimensions:
            raise IndexDamaged(f"{file} holds other vectors.")
        return cls(index, dimensions)

    def __len__(self) -> int:
        return len(self._codes)

    def put(self, first: int, vectors: Half) -> None:
        """Set the rows from `first` on."""
        self._codes[first : first + len(vectors)] = vectors.view(np.uint8)

    def take(self, rows: Numbers) -> Half:
        """Return some rows, shape (rows, dimensions)."""
        return self._codes[rows].view(np.float16)

    def scores(self, question: Single, rows: Numbers) -> Single:
        """Inner products of the question with some rows."""
        return np.asarray(self.take(rows).astype(np.float32) @ question, dtype=np.float32)

    def best(self, question: Single, rows: Numbers, limit: int) -> tuple[Numbers, Single]:
        """Return the `limit` best of these rows with their inner products, best first; exact."""
        limit = min(limit, len(rows))
        if not limit:
            return rows[:0], np.zeros(0, dtype=np.float32)
        with one_thread():
            if len(rows) * _SCAN_PER_GATHERED <= len(self) or len(rows) <= limit:
                gathered = _quantised(len(question))
                faiss.copy_array_to_vector(self._codes[rows].reshape(-1), gathered.codes)
                gathered.ntotal = len(rows)
                scores, found = gathered.search(question[None], limit)
                return rows[found[0]], scores[0]
            mask = np.zeros(len(self), dtype=bool)
            mask[rows] = True
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]
            scores, found = self._index.search(question[None], limit, params=selector)
            return found[0], scores[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS answer in the calling thread: one question is no work to share, and its threads spin."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def top(rows: Numbers, scores: Single, limit: int) -> tuple[Numbers, Single]:
    """Return the `limit` best scored, best first; ties by row."""
    if limit < len(rows):
        near = np.argpartition(-scores, limit)[:limit]
        rows, scores = rows[near], scores[near]
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]


def write_rows(file: Path, count: int, dimensions: int, blocks: Iterable[Half]) -> None:
    """Write `count` rows that come in blocks as a file for `Rows.map`.

    Raises:
        OSError: it cannot be written.
    """
    with file.open("wb") as stream:
        stream.write(_header(count, dimensions))
        for block in blocks:
            block.tofile(stream)


def _header(count: int, dimensions: int) -> bytes:
    """Return what stands before the vectors: what FAISS writes for no rows, with the count put in."""
    empty = bytes(faiss.serialize_index(_quantised(dimensions)))
    counted = count.to_bytes(_LENGTH_BYTES, "little")
    length = (count * 2 * dimensions).to_bytes(_LENGTH_BYTES, "little")
    return empty[:_COUNT_AT] + counted + empty[_COUNT_AT + _LENGTH_BYTES : -_LENGTH_BYTES] + length


def _quantised(dimensions: int) -> Any:  # noqa: ANN401
    index = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    return index
