"""Vector search over a million embeddings, beside a flat scan of all of them by FAISS.

Both sides answer the same question in turn. Shares are of access classes, 5,000 in 100 topics: random ones
of all topics, or all of some topics, as departments have theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.generation import Block, Generation, write
from assistant.retrieval.tail import Tail
from assistant.retrieval.view import View
from benchmarks.figures import Figure
from benchmarks.searching.collection import CLASSES, TOPICS, Collection
from benchmarks.searching.timing import quantile, seconds

SHARES = (1.0, 0.5, 0.25, 0.1, 0.01, 0.001)
LIMIT = 10


def run(collection: Collection, folder: Path, count: int) -> Iterator[Figure]:
    """Yield time and recall at every share, random and by topic."""
    dimensions = collection.vectors.shape[1]
    flat = faiss.IndexFlatIP(dimensions)
    classes = _fill(collection, flat, folder, count).classes
    index = View(tail=Tail(dimensions), base=Generation(folder / "generation", dimensions))
    for share in SHARES:
        for how in ("random",) if share == 1.0 else ("random", "by_topic"):
            permitted = _permitted(share, how)
            yield from _measured(collection, flat, index, classes, permitted, f"{share:.1%}_{how}")


def _fill(collection: Collection, flat: faiss.IndexFlatIP, folder: Path, count: int) -> Block:
    """Give all vectors to the flat index and to a generation; return them."""
    vectors: list[NDArray[np.float16]] = []
    classes: list[NDArray[np.int64]] = []
    for some, own in collection.many(count):
        flat.add(some.astype(np.float32))
        vectors.append(some)
        classes.append(own)
    whole = np.concatenate(vectors)
    vectors.clear()
    block = Block(ids=np.arange(count), classes=np.concatenate(classes), take=lambda rows: whole[rows])
    write(folder / "generation", flat.d, [block])
    return block


def _permitted(share: float, how: str) -> NDArray[np.int64]:
    generator = np.random.default_rng(2)
    count = max(1, round(share * CLASSES))
    if how == "random":
        return np.sort(1 + generator.permutation(CLASSES)[:count])
    each = CLASSES // TOPICS
    topics = generator.permutation(TOPICS)
    return np.sort([1 + topics[n // each] * each + n % each for n in range(count)])


def _measured(
    collection: Collection,
    flat: faiss.IndexFlatIP,
    index: View,
    classes: NDArray[np.int64],
    permitted: NDArray[np.int64],
    name: str,
) -> Iterator[Figure]:
    allowed = np.isin(classes, permitted)
    bits = np.packbits(allowed, bitorder="little")
    exact = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]
    ours: list[float] = []
    theirs: list[float] = []
    hits = wanted = 0
    for number, question in enumerate(collection.asked):
        ours.append(seconds(index.best, question, permitted, LIMIT))
        if number % 2 == 0:
            theirs.append(seconds(flat.search, question[None], LIMIT))
            _, rows = flat.search(question[None], LIMIT, params=exact)
            found = set(index.best(question, permitted, LIMIT)[0].tolist())
            best = set(rows[0][rows[0] >= 0].tolist())
            hits, wanted = hits + len(found & best), wanted + len(best)
    bare = quantile(theirs, 0.5)
    yield Figure(figure=f"flat_p50_at_{name}", value=bare, unit="ms")
    yield Figure(figure=f"vector_p50_at_{name}", value=quantile(ours, 0.5), unit="ms")
    yield Figure(
        figure=f"vector_p50_over_flat_at_{name}",
        value=round(quantile(ours, 0.5) / bare, 3),
        unit="ratio",
        at_most=0.5,
    )
    yield Figure(figure=f"vector_p99_at_{name}", value=quantile(ours, 0.99), unit="ms", aim=80)
    yield Figure(figure=f"recall_at_{name}", value=round(hits / wanted, 4), unit="share", at_least=0.99)
