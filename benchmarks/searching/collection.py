"""Real texts and real embeddings, multiplied: what the search benchmark searches.

Chunks of about 45 words of the retrieval corpora are embedded with the project's own embedder; a larger
collection repeats those vectors with noise (cosine to the original about 0.9), normalised again. Topics
are clusters of the real vectors, so that access classes can follow them as departments do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from assistant.models.pull import located
from assistant.retrieval.embed import Embedder
from assistant.retrieval.search import TextEmbedder
from benchmarks.figures import Options

TOPICS, CLASSES = 100, 5_000
NOISE = 0.48
_WORDS, _FEWEST = 45, 10
_SETS = ("cranfield", "cisi", "squad2_dev_ir", "pubmedqa_ir")
_BLOCK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Texts, some embedded; `vectors` has shape (embedded, dimensions), `topics` (embedded,)."""

    texts: tuple[str, ...]
    vectors: NDArray[np.float32]
    topics: NDArray[np.int64]
    questions: tuple[str, ...]
    asked: NDArray[np.float32]
    embedder: TextEmbedder

    def many(self, count: int) -> Iterator[tuple[NDArray[np.float16], NDArray[np.int64]]]:
        """Yield `count` vectors in blocks, with the access class of each: its topic's and a random part."""
        generator = np.random.default_rng(0)
        dimensions = self.vectors.shape[1]
        for first in range(0, count, _BLOCK):
            size = min(_BLOCK, count - first)
            source = generator.integers(0, len(self.vectors), size=size)
            noise = generator.standard_normal((size, dimensions), dtype=np.float32)
            vectors = self.vectors[source] + NOISE / np.sqrt(dimensions) * noise
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            part = generator.integers(0, CLASSES // TOPICS, size=size)
            yield vectors.astype(np.float16), 1 + self.topics[source] * (CLASSES // TOPICS) + part


def collect(options: Options, root: Path) -> Collection:
    """Read the corpora and embed a part of them."""
    from assistant.config import load

    settings = load(root / "assistant.yaml")
    embedder = Embedder.load(located(settings.models.embedder, settings), device="cpu")
    texts = tuple(_texts(options.data / "retrieval"))
    order = np.random.default_rng(0).permutation(len(texts))
    texts = tuple(texts[place] for place in order)
    embedded, asked = (400, 40) if options.quick else (2_000, 100)
    questions = tuple(_questions(options.data / "retrieval", asked))
    vectors = embedder.embed(texts[:embedded])
    return Collection(
        texts=texts,
        vectors=vectors,
        topics=topics(vectors),
        questions=questions,
        asked=embedder.embed(questions),
        embedder=embedder,
    )


def _texts(folder: Path) -> Iterator[str]:
    for name in _SETS:
        for line in (folder / name / "corpus.jsonl").open(encoding="utf-8"):
            row = json.loads(line)
            words = f"{row.get('title', '')} {row['text']}".split()
            for start in range(0, len(words), _WORDS):
                if len(piece := words[start : start + _WORDS]) >= _FEWEST:
                    yield " ".join(piece)


def _questions(folder: Path, count: int) -> Iterator[str]:
    for name in _SETS:
        lines = (folder / name / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        yield from (json.loads(line)["text"] for line in lines[: count // len(_SETS)])


def topics(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the cluster of every vector."""
    means = faiss.Kmeans(vectors.shape[1], TOPICS, seed=1, spherical=True, min_points_per_centroid=1)
    means.train(vectors)
    _, topic = means.index.search(vectors, 1)
    return np.asarray(topic[:, 0], dtype=np.int64)
