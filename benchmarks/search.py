"""Search at scale: a million vectors beside a flat scan, whole searches, starting.

Real texts and embeddings, multiplied with noise (`searching.collection` says how). All parts take about
ten minutes on two slow cores, 4 GB of memory and 6 GB of disk; `--quick` is a tenth of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, Options
from benchmarks.searching import start, vectors, whole
from benchmarks.searching.collection import Collection, collect

ROOT = Path(__file__).parents[1]
PARTS: dict[str, Callable[[Collection, Path, int], Iterator[Figure]]] = {
    "vectors": vectors.run,
    "whole": whole.run,
    "start": start.run,
}
COUNTS = {"vectors": (1_000_000, 100_000), "whole": (100_000, 20_000), "start": (1_000_000, 100_000)}


def run(options: Options) -> Iterator[Figure]:
    """Yield the figures of every part that is asked for."""
    if not (options.data / "retrieval").is_dir():
        reason = f"there is no retrieval data under {options.data}; name it with --data"
        yield Figure(figure="search", value=None, unit="ms", skipped=reason)
        return
    collection = collect(options, ROOT)
    for part in options.only or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            count, quick = COUNTS[part]
            yield from PARTS[part](collection, Path(folder), quick if options.quick else count)
