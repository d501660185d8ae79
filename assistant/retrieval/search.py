"""Search: a question and the access classes its asker may read -> passages, best first.

It owns the order of things: catch up with the database, rank permitted chunks only, fuse, and check
every id again against the database before it becomes a passage. It refuses to decide who may read what:
the caller hands in the permitted classes, and an empty set finds nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.focus import focus
from assistant.retrieval.fuse import at_most_per, convex
from assistant.retrieval.lexical import LexicalIndex
from assistant.retrieval.vector import VectorIndex
from assistant.retrieval.words import content, coverage
from assistant.store.documents import Documents
from assistant.types import Chunk, Document, Passage

CHUNKS_PER_DOCUMENT = 2
_SAVE_AFTER = 256


class TextEmbedder(Protocol):
    """What search needs of an embedder; `assistant.testing.embedder` has a public fake."""

    @property
    def digest(self) -> str:
        """Identity of the vectors it makes."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (texts, dimensions)."""
        ...


class Search:
    """Hybrid search over the documents of one database. Safe to call from several threads."""

    def __init__(self, documents: Documents, embedder: TextEmbedder, folder: Path) -> None:
        self._documents, self._embedder = documents, embedder
        self._vectors = VectorIndex(
            folder / "vectors.npz", embedder=embedder.digest, dimensions=embedder.dimensions
        )
        self._lexical = LexicalIndex(folder / "lexical", embedder=embedder.digest)
        self._saved = self._vectors.number
        self._lock = threading.Lock()

    def search(
        self, question: str, permitted: frozenset[int], *, limit: int, candidates: int
    ) -> list[Passage]:
        """Return at most `limit` passages for the question, best first.

        Args:
            permitted: ids of the access classes the asker may read; decided by the caller beforehand.
            candidates: fetched from each index before fusion.
        """
        if not permitted or not question.strip():
            return []
        vector = self._embedder.embed([question])[0]
        words = content(question)
        with self._lock:
            self._catch_up()
            dense = {hit.id: hit.score for hit in self._vectors.search(vector, permitted, candidates)}
            lexical = {hit.id: hit.score for hit in self._lexical.search(words, permitted, candidates)}
            dense |= self._vectors.similarities(vector, [id for id in lexical if id not in dense])
            rarity = {word: self._lexical.rarity(word) for word in words}
        scores = convex(dense, lexical)
        living = self._readable(scores, permitted)
        passages = [
            Passage(
                chunk=chunk,
                document=document,
                score=scores[id],
                similarity=dense.get(id, 0.0),
                coverage=coverage(" ".join([document.title, *chunk.headings, chunk.text]), rarity),
            )
            for id, (chunk, document) in living.items()
        ]
        passages.sort(key=lambda passage: (-passage.score, passage.chunk.id))
        return at_most_per(CHUNKS_PER_DOCUMENT, passages, lambda passage: passage.document.id)[:limit]

    def focus(self, question: str, passages: Sequence[Passage], sentences: int) -> tuple[Passage, ...]:
        """Return the passages that hold the best `sentences` sentences for the question, and only them."""
        with self._lock:
            rarity = {word: self._lexical.rarity(word) for word in content(question)}
        return focus(question, passages, sentences=sentences, embed=self._embedder.embed, rarity=rarity)

    def catch_up(self) -> None:
        """Follow the database now, and save what is worth saving; every search follows it by itself."""
        with self._lock:
            self._catch_up()

    def save(self) -> None:
        """Write the dense index to disk, so that the next process starts from it."""
        with self._lock:
            self._vectors.save()
            self._saved = self._vectors.number

    def _catch_up(self) -> None:
        self._vectors.catch_up(self._documents)
        self._lexical.catch_up(self._documents)
        if abs(self._vectors.number - self._saved) > max(_SAVE_AFTER, len(self._vectors) // 10):
            self._vectors.save()
            self._saved = self._vectors.number

    def _readable(self, ids: Iterable[int], permitted: frozenset[int]) -> dict[int, tuple[Chunk, Document]]:
        """Return what is alive and permitted by the database itself, less what a readable one supersedes."""
        found = self._documents.chunks(list(ids))
        readable = {id: pair for id, pair in found.items() if pair[1].access_class.id in permitted}
        documents = {document.id: document for _, document in readable.values()}
        replaced = {id for id, document in documents.items() if self._is_replaced(document, permitted)}
        return {id: pair for id, pair in readable.items() if pair[1].id not in replaced}

    def _is_replaced(self, document: Document, permitted: frozenset[int]) -> bool:
        """Whether a newer one that the asker may read supersedes this; two never replace each other."""
        newer = self._documents.get(document.superseded_by) if document.superseded_by else None
        if newer is None or newer.access_class.id not in permitted:
            return False
        return newer.superseded_by != document.id
