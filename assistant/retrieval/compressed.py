"""A compressed copy of the rows, scanned fast: 4-bit product quantisation in lists of rows that lie together.

It owns FAISS's FastScan (André et al., "Quicker ADC"; one code of 4 bits for every two dimensions), used
with lists that stand for access classes instead of clusters: a search scans the lists of what may be
read and nothing else, exhaustively, so no cluster is missed and no permission empties the result. Its
scores are approximate: callers rank what it finds again with the rows themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from assistant.errors import IndexDamaged
from assistant.retrieval.rows import Half, Numbers, Single, one_thread

SAMPLE = 8192
_BITS = 4
_RESERVOIR = 11  # FAISS's scan of one question by one thread that keeps many candidates


class Compressed:
    """Lists of codes. Reading is safe from several threads."""

    def __init__(self, index: Any) -> None:  # noqa: ANN401 - FAISS has no types
        index.nprobe = index.nlist  # a question names its lists itself; the places it leaves hold -1
        index.implem = _RESERVOIR
        self._index = index
        self._nowhere = np.zeros((1, index.nlist), dtype=np.float32)

    @classmethod
    def fits(cls, dimensions: int) -> bool:
        """Whether vectors of this length can be compressed."""
        return dimensions % 2 == 0

    @classmethod
    def encode(cls, sample: Half, lists: Numbers, blocks: Iterable[Half]) -> Compressed:
        """Train on a sample and encode all rows.

        Args:
            sample: rows that stand for all, 4,096 at least.
            lists: the list of every row, from 0 on without gaps.
            blocks: the rows in order.
        """
        dimensions = sample.shape[1]
        nearest = faiss.IndexFlatIP(dimensions)  # never asked
        index = faiss.IndexIVFPQ(
            nearest, dimensions, int(lists[-1]) + 1, dimensions // 2, _BITS, faiss.METRIC_INNER_PRODUCT
        )
        index.by_residual = False
        index.pq.train(sample.astype(np.float32))
        index.is_trained = True
        first = 0
        for block in blocks:
            vectors = block.astype(np.float32)
            rows = np.arange(first, first + len(vectors), dtype=np.int64)
            own = np.ascontiguousarray(lists[rows], dtype=np.int64)
            index.add_core(len(rows), *(faiss.swig_ptr(each) for each in (vectors, rows, own)))
            first += len(rows)
        return cls(faiss.IndexIVFPQFastScan(index))

    @classmethod
    def read(cls, file: Path) -> Compressed:
        """Read what `write` wrote.

        Raises:
            IndexDamaged: it is missing, or no such file.
        """
        try:
            index = faiss.read_index(str(file))
        except RuntimeError as error:
            raise IndexDamaged(f"{file} cannot be read: {error}.") from error
        if not isinstance(index, faiss.IndexIVFPQFastScan):
            raise IndexDamaged(f"{file} holds something else.")
        return cls(index)

    def write(self, file: Path) -> None:
        """Write it to a file.

        Raises:
            OSError: it cannot be written.
        """
        try:
            faiss.write_index(self._index, str(file))
        except RuntimeError as error:
            raise OSError(f"{file} cannot be written: {error}") from error

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def near(self, question: Single, lists: Numbers, depth: int) -> Numbers:
        """Return the rows of the `depth` best approximate scores in some lists, in no order."""
        probed = np.full((1, self._index.nlist), -1, dtype=np.int64)
        probed[0, : len(lists)] = lists
        with one_thread():
            _, rows = self._index.search_preassigned(question[None], depth, probed, self._nowhere)
        found: Numbers = rows[0][rows[0] >= 0]
        return found
