"""Ranking quality on public collections, through the real search: SQL store, both indexes, fusion.

One configuration for all collections, MiniLM, no cross-encoder. The other sides are of the same vectors and
the same words: either index alone, and reciprocal rank fusion of both (Cormack et al. 2009, k = 60). The
part `spelling` repeats a collection with one word of every question misspelt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from tqdm import tqdm

from assistant.retrieval.lexical import LexicalIndex
from assistant.retrieval.spelling import correctable
from assistant.retrieval.words import content, written
from benchmarks import beir
from benchmarks.beir import Collection
from benchmarks.cached import CachedEmbedder
from benchmarks.figures import Figure, Options
from benchmarks.shelf import CANDIDATES, Shelf

BARS = {"cranfield": 0.445, "cisi": 0.455, "squad2_dev_ir": 0.895, "pubmedqa_ir": 0.975}
PARTS = (*BARS, "spelling")
MISSPELT = "squad2_dev_ir"
DEPTH, RRF_K = 10, 60
QUICK = 100
Ranking = list[str]
Rank = Callable[[str], Ranking]


def run(options: Options) -> Iterator[Figure]:
    """Yield nDCG@10 of every side on every collection."""
    embedder = CachedEmbedder.minilm(options.cache)
    for name in BARS:
        if options.only and name not in options.only:
            continue
        folder = options.data / "retrieval" / name
        if not folder.is_dir():
            yield Figure(
                figure=f"{name}_ndcg10", value=None, unit="nDCG@10", skipped=f"{folder} is not there"
            )
            continue
        with Shelf(embedder) as shelf:
            yield from _figures(beir.read(folder), shelf, options.quick)
    if not options.only or "spelling" in options.only:
        yield from _spelling(options, embedder)


def _figures(collection: Collection, shelf: Shelf, quick: bool) -> Iterator[Figure]:
    sides = _Sides(collection, shelf)
    queries = _some(collection.queries, quick)
    ours = _mean(collection, queries, sides.ours)
    bar = None if quick else BARS[collection.name]
    yield Figure(figure=f"{collection.name}_ndcg10", value=ours, unit="nDCG@10", at_least=bar)
    for name, side in (("dense", sides.dense), ("bm25", sides.bm25), ("rrf", sides.rrf)):
        value = _mean(collection, queries, side)
        yield Figure(figure=f"{collection.name}_ndcg10_{name}", value=value, unit="nDCG@10")


def _spelling(options: Options, embedder: CachedEmbedder) -> Iterator[Figure]:
    folder = options.data / "retrieval" / MISSPELT
    if not folder.is_dir():
        yield Figure(figure="misspelt_ndcg10", value=None, unit="nDCG@10", skipped=f"{folder} is not there")
        return
    collection = beir.read(folder)
    right = _some(collection.queries, True)
    wrong = {id: misspelt(text) for id, text in right.items()}
    with Shelf(embedder) as shelf:
        sides = _Sides(collection, shelf)
        yield Figure(figure="spelt_ndcg10", value=_mean(collection, right, sides.ours), unit="nDCG@10")
        for name, side in (
            ("", sides.ours),
            ("_dense", sides.dense),
            ("_bm25", sides.bm25),
            ("_rrf", sides.rrf),
        ):
            value = _mean(collection, wrong, side)
            yield Figure(figure=f"misspelt_ndcg10{name}", value=value, unit="nDCG@10")


class _Sides:
    """One collection, stored one document a chunk, and each way to rank its documents for a query."""

    def __init__(self, collection: Collection, shelf: Shelf) -> None:
        names = shelf.put_whole(dict(collection.documents))
        shelf.embedder.embed(list(collection.queries.values()))
        shelf.search.catch_up()
        self._shelf, self._permitted = shelf, shelf.permitted
        stored = shelf.documents.readable(self._permitted).chunks(range(1, len(names) + 1))
        self._names = {chunk: names[document.id] for chunk, (_, document) in stored.items()}
        self._lexical = LexicalIndex(shelf.folder / "indexes" / "lexical", embedder=shelf.embedder.digest)
        self._ids = list(collection.documents)
        self._vectors = shelf.embedder.embed([f"{t}\n{text}" for t, text in collection.documents.values()])

    def ours(self, query: str) -> Ranking:
        """Rank as answers are retrieved."""
        return [passage.document.uri for passage in self._shelf.find(query, DEPTH).passages]

    def dense(self, query: str) -> Ranking:
        """Rank by cosine."""
        scores = self._vectors @ self._shelf.embedder.embed([query])[0]
        return [self._ids[row] for row in np.argsort(-scores, kind="stable")[:CANDIDATES]]

    def bm25(self, query: str) -> Ranking:
        """Rank by BM25 over text and title, as tantivy scores them."""
        hits = self._lexical.search(content(query), self._permitted, CANDIDATES)
        return [self._names[hit.id] for hit in hits]

    def rrf(self, query: str) -> Ranking:
        """Rank by the sum of reciprocal ranks."""
        scores: dict[str, float] = {}
        for ranking in (self.dense(query), self.bm25(query)):
            for place, id in enumerate(ranking, 1):
                scores[id] = scores.get(id, 0.0) + 1 / (RRF_K + place)
        return sorted(scores, key=lambda id: -scores[id])


def misspelt(question: str) -> str:
    """Misspell the longest word that carries content: an edit chosen by the question itself."""
    own = written(question)
    words = [own[stem] for stem in content(question) if stem in own and correctable(own[stem])]
    if not words:
        return question
    word = max(words, key=len)
    chance = random.Random(question)
    at = chance.randrange(2, len(word) - 1)
    edits = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + chance.choice("aeinorst") + word[at + 1 :],
    )
    return question.replace(word, chance.choice(edits), 1)


def _mean(collection: Collection, queries: Mapping[str, str], rank: Rank) -> float:
    gains = [
        beir.ndcg(rank(text), collection.relevant[id])
        for id, text in tqdm(queries.items(), leave=False, unit="query")
    ]
    return round(float(np.mean(gains)), 4)


def _some(queries: Mapping[str, str], quick: bool) -> dict[str, str]:
    step = max(1, len(queries) // QUICK) if quick else 1
    return dict(list(queries.items())[::step])
