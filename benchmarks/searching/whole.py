"""The whole search of 100,000 chunks beside the question's embedding and a bare flat scan of all vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np

from assistant.retrieval.lexical import LexicalIndex
from assistant.retrieval.search import Search
from assistant.retrieval.words import content
from assistant.store.documents import Documents
from benchmarks.figures import Figure
from benchmarks.searching.collection import Collection
from benchmarks.searching.database import fill
from benchmarks.searching.timing import quantile, seconds

PERMITTED = (5_000, 4_000, 2_500, 1_000, 100, 5)
LIMIT, CANDIDATES = 8, 50


def run(collection: Collection, folder: Path, count: int) -> Iterator[Figure]:
    """Yield the figures of whole searches, then those of the lexical index alone."""
    documents = fill(collection, folder / "whole.db", count, per_document=20)
    search = Search(documents, collection.embedder, folder / "whole")
    yield Figure(figure=f"indexes_from_sql_{count}", value=round(seconds(search.catch_up), 1), unit="s")
    search.save()
    search.catch_up()
    yield from _whole(collection, documents, search, count)
    lexical = LexicalIndex(folder / "whole" / "lexical", embedder=collection.embedder.digest)
    yield from _lexical(collection, documents, lexical)


def _whole(collection: Collection, documents: Documents, search: Search, count: int) -> Iterator[Figure]:
    flat = faiss.IndexFlatIP(collection.vectors.shape[1])
    for vectors, _ in collection.many(count):
        flat.add(vectors.astype(np.float32))
    every = sorted(access_class.id for access_class in documents.classes())
    permitted = frozenset(every[::5])
    ours: list[float] = []
    bare: list[float] = []
    for question in (*collection.questions[:5], *collection.questions):
        ours.append(seconds(search.search, question, permitted, limit=LIMIT, candidates=CANDIDATES))
        bare.append(seconds(_bare, collection, flat, question))
    ours, bare = ours[5:], bare[5:]
    for name, share, most, aim in (("p50", 0.5, 1.5, 15), ("p99", 0.99, 3, 40)):
        mine, theirs = quantile(ours, share), quantile(bare, share)
        yield Figure(figure=f"embedding_and_flat_{name}", value=theirs, unit="ms")
        yield Figure(figure=f"search_{name}", value=mine, unit="ms", aim=aim)
        yield Figure(
            figure=f"search_over_embedding_and_flat_{name}",
            value=round(mine / theirs, 3),
            unit="ratio",
            at_most=most,
        )


def _bare(collection: Collection, flat: faiss.IndexFlatIP, question: str) -> None:
    flat.search(collection.embedder.embed([question]), LIMIT)


def _lexical(collection: Collection, documents: Documents, index: LexicalIndex) -> Iterator[Figure]:
    every = [access_class.id for access_class in documents.classes()]
    np.random.default_rng(3).shuffle(every)
    for count in PERMITTED:
        permitted = frozenset(every[: max(1, count * len(every) // PERMITTED[0])])
        times = [
            seconds(index.search, content(question), permitted, CANDIDATES)
            for question in collection.questions
        ]
        name = f"lexical_{count / PERMITTED[0]:.1%}_of_{len(every)}_classes"
        yield Figure(figure=f"{name}_p50", value=quantile(times, 0.5), unit="ms")
        yield Figure(figure=f"{name}_p99", value=quantile(times, 0.99), unit="ms")
