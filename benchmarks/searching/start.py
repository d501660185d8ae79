"""Starting over a million vectors: from SQL alone, and with an index on disk, each in its own process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.vector import VectorIndex
from assistant.store.database import Database
from assistant.store.documents import Documents
from benchmarks.figures import Figure
from benchmarks.searching.collection import Collection
from benchmarks.searching.database import fill
from benchmarks.searching.timing import resident_mb, seconds


def run(collection: Collection, folder: Path, count: int) -> Iterator[Figure]:
    """Yield start-up times and resident memory."""
    fill(collection, folder / "start.db", count, per_document=200)
    for name, bar in (("from_sql", 45), ("from_disk", 3)):
        taken, memory = _in_a_process(collection, folder)
        yield Figure(figure=f"start_{name}_{count}", value=taken, unit="s", at_most=bar)
        for kind, megabytes in memory.items():
            yield Figure(figure=f"resident_{kind}_after_start_{name}", value=megabytes, unit="MB")


def _in_a_process(collection: Collection, folder: Path) -> tuple[float, dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    arguments = (folder, collection.embedder.digest, collection.asked[0], theirs)
    process = context.Process(target=_start, args=arguments)
    process.start()
    answer: tuple[float, dict[str, float]] = mine.recv()
    process.join()
    return answer


def _start(folder: Path, digest: str, question: NDArray[np.float32], answer: Connection) -> None:
    before = resident_mb()
    documents = Documents(Database.open(f"sqlite:///{folder}/start.db"))

    def start() -> None:
        index = VectorIndex(folder / "start", embedder=digest, dimensions=len(question))
        index.catch_up(documents)
        assert index.search(question, frozenset(range(1, 10_000)), 10)
        kept.append(index)

    kept: list[VectorIndex] = []
    taken = seconds(start)
    after = resident_mb()
    answer.send((round(taken, 2), {kind: round(after[kind] - before[kind], 1) for kind in after}))
