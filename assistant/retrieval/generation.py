"""One generation of the dense index: what stood in the database at a change number, on disk, never changed.

Rows lie in order of access class, so that the rows of a class are one range and those of a set of classes
a few. It owns how such rows are written, opened and searched: exactly while few are permitted, else
through the compressed copy with the best ranked again exactly, and exactly again when too few of those are
permitted; on a GPU, where there is one, always exactly. It refuses changes but one: a row can be marked
as gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from assistant.durable import sync_file, sync_folder
from assistant.errors import IndexDamaged
from assistant.retrieval.compressed import SAMPLE, Compressed
from assistant.retrieval.device import OnDevice, found
from assistant.retrieval.ondisk import checksum
from assistant.retrieval.rows import Half, Numbers, Rows, Single, write_rows
from assistant.retrieval.tail import GONE

COMPRESS_ABOVE = 30_000
_EXACT_BELOW = 4_000
_DEPTH = 1_000
_DEPTH_PER_HIT = 16
_DEEPEST = 8_000
_LIST_ROWS = 256
_BLOCK_ROWS = 32_768
_HEADER_BYTES = 128
_ROWS, _CODES, _IDS, _BY_ID, _CLASSES, _STARTS = (
    "rows.faiss",
    "codes.faiss",
    "ids.npy",
    "by_id.npy",
    "classes.npy",
    "starts.npy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows to be written: chunk ids, classes (`GONE` where not living), and how to take their vectors."""

    ids: Numbers
    classes: Numbers
    take: Callable[[Numbers], Half]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a generation that may be read: its classes' places, and how many rows they have."""

    places: Numbers
    count: int


class Generation:
    """Rows of one folder, mapped. Searching is safe from several threads."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        """Open a folder that `write` wrote.

        Raises:
            IndexDamaged: something is missing or does not fit together.
        """
        try:
            ids, by_id, self._classes, self._starts = (
                _load(folder / name) for name in (_IDS, _BY_ID, _CLASSES, _STARTS)
            )
        except (OSError, ValueError, EOFError) as error:
            raise IndexDamaged(f"{folder} cannot be read: {error}.") from error
        self.ids: Numbers = ids
        self._by_id: Numbers = by_id
        self.rows = Rows.map(folder / _ROWS, dimensions)
        self._compressed = Compressed.read(folder / _CODES) if (folder / _CODES).exists() else None
        whole = len(ids) == len(by_id) == len(self.rows) == int(self._starts[-1])
        if not whole or len(self._starts) != len(self._classes) + 1:
            raise IndexDamaged(f"The files of {folder} do not fit together.")
        device = found()
        self._device = OnDevice(self.rows, device) if device and len(ids) else None
        self._gone = np.zeros(len(ids), dtype=bool)
        self._list_of_class = _lists(self._starts)
        self.gone = 0

    def __len__(self) -> int:
        """Rows that live."""
        return len(self.ids) - self.gone

    def best(self, question: Single, classes: Numbers, limit: int) -> tuple[Numbers, Single]:
        """Return the ids of the `limit` best chunks of these classes, with inner products, best first."""
        part = self._part(classes)
        near = None
        if self._compressed is not None and self._device is None and part.count > _EXACT_BELOW:
            near = self._near(self._compressed, question, part, limit)
        if near is not None:
            rows, scores = self.rows.best(question, near, limit)
        else:
            table = self._device or self.rows
            rows, scores = table.best(question, self._living(self._range_rows(part)), limit)
        return self.ids[rows], scores

    def find(self, ids: Numbers) -> Numbers:
        """Return the rows of those of the chunks that live here; -1 for the others."""
        if not len(self.ids):
            return np.full(len(ids), -1, dtype=np.int64)
        place = np.searchsorted(self.ids, ids, sorter=self._by_id).clip(max=len(self.ids) - 1)
        rows = np.asarray(self._by_id[place], dtype=np.int64)
        return np.where((self.ids[rows] == ids) & ~self._gone[rows], rows, -1)

    def class_of(self, rows: Numbers) -> Numbers:
        """Return the access classes of rows."""
        return np.asarray(self._classes[self._place_of(rows)], dtype=np.int64)

    def remove(self, rows: Numbers) -> None:
        """Mark rows that live as gone."""
        self._gone[rows] = True
        self.gone += len(rows)

    def block(self) -> Block:
        """Return the rows as they are now, to be written into the next generation."""
        classes = np.repeat(self._classes, np.diff(self._starts))
        classes[self._gone] = GONE
        return Block(ids=self.ids, classes=classes, take=self.rows.take)

    def _part(self, classes: Numbers) -> Part:
        if not len(self._classes):
            return Part(places=np.zeros(0, dtype=np.int64), count=0)
        places = np.searchsorted(self._classes, classes).clip(max=len(self._classes) - 1)
        places = places[self._classes[places] == classes]
        return Part(places=places, count=int((self._starts[places + 1] - self._starts[places]).sum()))

    def _range_rows(self, part: Part) -> Numbers:
        starts = self._starts[part.places]
        lengths = self._starts[part.places + 1] - starts
        before = np.cumsum(lengths) - lengths
        return np.asarray(np.repeat(starts - before, lengths) + np.arange(part.count), dtype=np.int64)

    def _living(self, rows: Numbers) -> Numbers:
        return rows[~self._gone[rows]] if self.gone else rows

    def _place_of(self, rows: Numbers) -> Numbers:
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _near(self, compressed: Compressed, question: Single, part: Part, limit: int) -> Numbers | None:
        """Return the readable rows near the question; None where too few of what was near are readable."""
        lists = np.unique(self._list_of_class[part.places])
        probed = int(self._list_rows[lists].sum())
        depth = max(_DEPTH, _DEPTH_PER_HIT * limit)
        deeper = depth * probed // part.count
        if deeper > _DEEPEST:
            return None
        rows = compressed.near(question, lists, min(deeper, probed))
        if probed > part.count:
            readable = np.zeros(len(self._classes), dtype=bool)
            readable[part.places] = True
            rows = rows[readable[self._place_of(rows)]]
        rows = np.sort(self._living(rows))
        return rows if len(rows) >= depth // 2 else None

    @cached_property
    def _list_rows(self) -> Numbers:
        return np.bincount(self._list_of_class, weights=np.diff(self._starts)).astype(np.int64)


class Check:
    """The sums of a generation's files, taken in the background; `damaged` once one is not what it was."""

    def __init__(self, folder: Path, sums: dict[str, int], *, wait_s: float) -> None:
        self._folder, self._sums = folder, sums
        self.damaged = False
        thread = threading.Thread(target=self._run, name="index check", daemon=True)
        thread.start()
        thread.join(wait_s)

    def _run(self) -> None:
        try:
            if any(checksum(self._folder / name) != sum_ for name, sum_ in self._sums.items()):
                self.damaged = True
        except FileNotFoundError:
            pass  # a newer generation took its place; what is open stays readable
        except OSError:
            self.damaged = True


def write(folder: Path, dimensions: int, blocks: Sequence[Block]) -> dict[str, int]:
    """Write a generation of blocks of rows and return the sums of its files; the last of an id counts.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True)
    ids, classes, order = _arranged(blocks)
    known, starts = np.unique(classes, return_index=True)
    starts = np.append(starts, len(classes)).astype(np.int64)
    for name, array in ((_IDS, ids), (_BY_ID, np.argsort(ids)), (_CLASSES, known), (_STARTS, starts)):
        np.save(folder / name, array)
    write_rows(folder / _ROWS, len(ids), dimensions, _taken(blocks, order))
    if len(ids) > COMPRESS_ABOVE and Compressed.fits(dimensions):
        _compress(folder, dimensions, starts)
    sums = {}
    for file in folder.iterdir():
        sync_file(file)
        sums[file.name] = checksum(file)
    sync_folder(folder)
    return sums


def _load(file: Path) -> Numbers:
    """Map an array; one without elements cannot be mapped."""
    array: Numbers = np.load(file, mmap_mode="r" if file.stat().st_size > _HEADER_BYTES else None)
    return array


def _compress(folder: Path, dimensions: int, starts: Numbers) -> None:
    rows = Rows.map(folder / _ROWS, dimensions)
    sample = np.random.default_rng(0).choice(len(rows), size=SAMPLE, replace=False)
    lists = _lists(starts)
    blocks = (rows.take(np.arange(first, last)) for first, last in _spans(len(rows)))
    of_row = np.repeat(lists, np.diff(starts))
    Compressed.encode(rows.take(np.sort(sample)), of_row, blocks).write(folder / _CODES)


def _lists(starts: Numbers) -> Numbers:
    """Put every class into a list: large ones alone, small neighbours together."""
    _, lists = np.unique(starts[:-1] // _LIST_ROWS, return_inverse=True)
    return np.asarray(lists, dtype=np.int64)


def _arranged(blocks: Sequence[Block]) -> tuple[Numbers, Numbers, Numbers]:
    """Return ids and classes in order of class, and which row of all the blocks' each one is."""
    ids = np.concatenate([block.ids for block in blocks])
    classes = np.concatenate([block.classes for block in blocks])
    _, back = np.unique(ids[::-1], return_index=True)
    last = len(ids) - 1 - back
    last = last[classes[last] != GONE]
    order = last[np.lexsort((last, classes[last]))]
    return ids[order], classes[order], order


def _taken(blocks: Sequence[Block], order: Numbers) -> Iterator[Half]:
    """Yield vectors in order, gathered from the blocks they are in."""
    bounds = np.cumsum([0, *(len(block.ids) for block in blocks)])
    for first, last in _spans(len(order)):
        wanted = order[first:last]
        source = np.searchsorted(bounds, wanted, side="right") - 1
        gathered: Half | None = None
        for number in np.unique(source):
            here = source == number
            vectors = blocks[number].take(wanted[here] - bounds[number])
            if gathered is None:
                gathered = np.empty((len(wanted), vectors.shape[1]), dtype=np.float16)
            gathered[here] = vectors
        if gathered is not None:
            yield gathered


def _spans(count: int) -> Iterator[tuple[int, int]]:
    for first in range(0, count, _BLOCK_ROWS):
        yield first, min(first + _BLOCK_ROWS, count)
