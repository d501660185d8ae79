"""The dense index: inner products over permitted chunks only, derived from the database.

It owns how a generation on disk and the rows added since make one index: it follows the database's
changes, has whichever process of a machine comes first write the next generation beside and swap it in,
goes over to what another process wrote, and begins anew when a generation is missing, damaged, of another
embedder, or ahead of the database. Searches take no lock. It refuses graph and cluster indexes: with
sparse permissions they lose what is permitted (faiss #5504).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from assistant.errors import IndexDamaged
from assistant.retrieval.changes import follow
from assistant.retrieval.generation import Block, Check, Generation, write
from assistant.retrieval.hit import Hit
from assistant.retrieval.ondisk import locked, replace_json
from assistant.retrieval.rows import Single
from assistant.retrieval.spool import Spool
from assistant.retrieval.tail import Tail
from assistant.retrieval.view import View
from assistant.store.documents import Documents

_FORMAT = 2
_STATE = "state.json"
_SPOOL_ABOVE = 50_000
_FOLD_ABOVE = 256
_FOLD_SHARE = 8
_CHECK_WAIT_S = 1.0
_WRITER_WAIT_S = 120.0
_log = logging.getLogger(__name__)


class State(TypedDict):
    """What `state.json` holds: which folder is the generation, what it is of, and its files' sums."""

    format: int
    embedder: str
    number: int
    folder: str
    files: dict[str, int]


class VectorIndex:
    """Vectors with chunk id and access class; `number` is the last change it has seen."""

    def __init__(self, folder: Path, *, embedder: str, dimensions: int) -> None:
        self._folder, self._embedder, self._dimensions = folder, embedder, dimensions
        self._lock = threading.RLock()
        self._folding: threading.Thread | None = None
        self._stamp: tuple[int, int] | None = None
        self._view = self._opened(_CHECK_WAIT_S)

    def __len__(self) -> int:
        return len(self._view)

    @property
    def number(self) -> int:
        """The last change of the database it has seen."""
        return self._view.number

    def catch_up(self, documents: Documents, latest: int | None = None) -> None:
        """Apply every change of the database since the last one seen.

        Args:
            latest: `documents.change_number()`, where it was just read.
        """
        if self._is_current(documents.change_number() if latest is None else latest):
            return
        with self._lock:
            if not self._is_current(documents.change_number()):
                self._catch_up(documents)

    def search(self, question: Single, permitted: frozenset[int], limit: int) -> list[Hit]:
        """Return the `limit` most similar chunks among those of the permitted classes, best first."""
        classes = np.fromiter(permitted, dtype=np.int64, count=len(permitted))
        ids, scores = self._view.best(question, np.sort(classes[classes >= 0]), limit)
        return [Hit(id=id, score=score) for id, score in zip(ids.tolist(), scores.tolist(), strict=True)]

    def similarities(self, question: Single, ids: Sequence[int]) -> dict[int, float]:
        """Cosine of the question to each of the chunks that are indexed."""
        found, vectors = self._view.take(ids)
        return dict(zip(found, (vectors @ question).tolist(), strict=True))

    def vectors(self, ids: Sequence[int]) -> tuple[list[int], Single]:
        """Return those of the chunks that are indexed, and their vectors, shape (chunks, dimensions)."""
        return self._view.take(ids)

    def save(self) -> None:
        """Write a generation, unless another process is doing so or is further; wait for one under way."""
        self.settle()
        with self._lock:
            view, blocks = self._view, self._view.blocks()
        if view.number > view.saved:
            self._fold(blocks, view.number)

    def settle(self) -> None:
        """Wait until nothing is being written in the background."""
        if self._folding is not None:
            self._folding.join()

    def _is_current(self, latest: int) -> bool:
        view = self._view
        return latest == view.number and not view.damaged and self._written() == self._stamp

    def _catch_up(self, documents: Documents) -> None:
        view = self._view
        if self._written() != self._stamp:
            view = self._later(view)
        if view.damaged or documents.change_number() < view.number:
            view = self._anew()
        try:
            view = self._followed(view, documents)
        except IndexDamaged:
            view = self._followed(self._anew(), documents)
        self._view = view
        if view.loose > max(_FOLD_ABOVE, len(view) // _FOLD_SHARE):
            self._fold_beside(view)

    def _followed(self, view: View, documents: Documents) -> View:
        if documents.change_number() - view.number > _SPOOL_ABOVE:
            view = self._spooled(view, documents)
        for changes in follow(documents.vectors, view.number, self._embedder):
            view.apply(changes)
        return view

    def _spooled(self, view: View, documents: Documents) -> View:
        """Write very many changes straight into a generation, or take over what another process wrote."""
        with locked(self._lock_file, _WRITER_WAIT_S) as mine:
            later = self._later(view)
            if not mine or later.number > view.number:
                return later
            number = view.number
            try:
                with Spool(self._folder / f"spool-{os.getpid()}.part", self._dimensions) as spool:
                    for changes in follow(documents.vectors, number, self._embedder):
                        spool.add(changes)
                        number = changes.number
                    self._write([*view.blocks(), spool.block()], number)
            except OSError as error:
                _log.warning("The dense index stays in memory: %s cannot be written: %s", self._folder, error)
                return view
        return self._opened(0.0)

    def _fold_beside(self, view: View) -> None:
        """Begin to write a generation of what is here, unless that is being done."""
        if self._folding is None or not self._folding.is_alive():
            self._folding = threading.Thread(
                target=self._fold, args=(view.blocks(), view.number), name="index writer"
            )
            self._folding.start()

    def _fold(self, blocks: Sequence[Block], number: int) -> None:
        with locked(self._lock_file) as mine:
            if mine and self._saved_number() < number:
                try:
                    self._write(blocks, number)
                except OSError as error:
                    _log.warning("The dense index was not saved in %s: %s", self._folder, error)

    def _write(self, blocks: Sequence[Block], number: int) -> None:
        """Write a generation, swap it in, and remove what it replaces."""
        name = f"generation-{number}-{uuid.uuid4().hex[:8]}"
        try:
            files = write(self._folder / name, self._dimensions, blocks)
            state = State(format=_FORMAT, embedder=self._embedder, number=number, folder=name, files=files)
            replace_json(self._folder / _STATE, {**state})
        except OSError:
            shutil.rmtree(self._folder / name, ignore_errors=True)
            raise
        for other in self._folder.glob("generation-*"):
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)
        for abandoned in self._folder.glob("spool-*.part"):
            abandoned.unlink(missing_ok=True)

    def _later(self, view: View) -> View:
        """Open what is on disk if it is further than the generation in use."""
        self._stamp = self._written()
        return view if self._saved_number() <= view.saved else self._opened(0.0)

    def _anew(self) -> View:
        """Begin from nothing; what is on disk is damaged or speaks of another history."""
        (self._folder / _STATE).unlink(missing_ok=True)
        self._stamp = None
        return View(tail=Tail(self._dimensions))

    def _opened(self, wait_s: float) -> View:
        """Open the generation on disk; an empty view if there is none that can be used."""
        for _ in range(2):  # between reading the state and opening, another generation may come
            self._stamp = self._written()
            state = self._read_state()
            if state is None:
                break
            folder, number = self._folder / state["folder"], state["number"]
            try:
                base = Generation(folder, self._dimensions)
            except IndexDamaged:
                continue
            check = Check(folder, state["files"], wait_s=wait_s)
            if check.damaged:
                break
            tail = Tail(self._dimensions)
            return View(tail=tail, base=base, check=check, number=number, saved=number)
        return self._anew()

    @property
    def _lock_file(self) -> Path:
        return self._folder / "writer.lock"

    def _written(self) -> tuple[int, int] | None:
        """Return what tells one state on disk from another."""
        try:
            found = (self._folder / _STATE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _read_state(self) -> State | None:
        try:
            state: State = json.loads((self._folder / _STATE).read_text(encoding="utf-8"))
            whole = isinstance(state["number"], int) and isinstance(state["files"], dict)
            ours = (state["format"], state["embedder"]) == (_FORMAT, self._embedder)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state if whole and ours and isinstance(state["folder"], str) else None

    def _saved_number(self) -> int:
        state = self._read_state()
        return -1 if state is None else state["number"]
