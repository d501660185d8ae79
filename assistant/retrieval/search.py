"""Search: a question and the access classes its asker may read -> passages, best first.

It owns the order of things: catch up with the database, rank permitted chunks only, fuse, and check
every id again against the database before it becomes a passage. It refuses to decide who may read what:
the caller hands in the permitted classes, and an empty set finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.focus import focus
from assistant.retrieval.joined import beside, joined
from assistant.retrieval.lexical import LexicalIndex
from assistant.retrieval.pool import Pool, text_of
from assistant.retrieval.rank import Found, Ranked, best_first, spread
from assistant.retrieval.repeats import merged
from assistant.retrieval.spelling import beginning, meant, respelled
from assistant.retrieval.vector import VectorIndex
from assistant.retrieval.words import asked, content, stems, written
from assistant.store.documents import Documents
from assistant.types import Chunk, Document, Passage


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

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text: a word of its own vocabulary is one."""
        ...


TRIES = 3
Reordered = Callable[[str, list[Ranked]], list[Ranked]]


class Search:
    """Hybrid search over the documents of one database. Safe to call from several threads.

    While `following` is off it goes on with what its indexes hold; the database's last word holds as ever.
    """

    def __init__(
        self,
        documents: Documents,
        embedder: TextEmbedder,
        folder: Path,
        *,
        reordered: Reordered | None = None,
    ) -> None:
        """Open the indexes in `folder`.

        Args:
            reordered: orders the best anew for a question, as a cross-encoder does.
        """
        self._documents, self._embedder = documents, embedder
        self.following = True
        self._reordered = reordered
        self._vectors = VectorIndex(
            folder / "vectors", embedder=embedder.digest, dimensions=embedder.dimensions
        )
        self._lexical = LexicalIndex(folder / "lexical", embedder=embedder.digest)

    def search(
        self, question: str, permitted: frozenset[int], *, limit: int, candidates: int
    ) -> list[Passage]:
        """Return at most `limit` passages for the question, best first: those of `found`."""
        return self.found(question, permitted, limit=limit, candidates=candidates).passages

    def found(self, question: str, permitted: frozenset[int], *, limit: int, candidates: int) -> Found:
        """Return at most `limit` passages, best first, with the reason for the place of each.

        Args:
            permitted: ids of the access classes the asker may read; decided by the caller beforehand.
            candidates: fetched from each index before fusion.
        """
        if not permitted or not question.strip():
            return Found(question=question)
        self._catch_up()
        pool = self._pool(question, permitted, candidates)
        if spelled := self._spelled(pool, permitted):
            pool = replace(
                self._pool(respelled(question, spelled), permitted, candidates), rarity=pool.rarity
            )
        ranked = best_first(pool.ranked())
        if self._reordered:
            ranked = self._reordered(pool.question, ranked)
        likenesses = self._documents.likenesses(permitted)
        ranked = merged(ranked, likenesses.sketches, wanted=limit)
        ranked = spread(ranked, pool.vectors, wanted=limit)
        return Found(question=pool.question, ranked=tuple(ranked[:limit]), spelled=spelled)

    def joined(
        self,
        passages: Sequence[Passage],
        permitted: frozenset[int],
        *,
        budget: int,
        count: Callable[[str], int],
    ) -> tuple[Passage, ...]:
        """Return the passages that `budget` tokens hold, the first with the text around them."""
        readable = self._documents.readable(permitted)
        near = readable.chunks(beside(passages))
        return joined(passages, near, text=readable.span, budget=budget, count=count)

    def focus(self, question: str, passages: Sequence[Passage], sentences: int) -> tuple[Passage, ...]:
        """Return the passages that hold the best `sentences` sentences for the question, and only them."""
        rarity = {word: self._lexical.rarity(word) for word in content(question)}
        return focus(question, passages, sentences=sentences, embed=self._embedder.embed, rarity=rarity)

    def catch_up(self) -> None:
        """Follow the database now, and save what is worth saving; every search follows it by itself."""
        self._catch_up()

    @property
    def embedder(self) -> str:
        """Digest of the embedder that it searches with."""
        return self._embedder.digest

    @property
    def numbers(self) -> dict[str, int]:
        """The last change each index has followed."""
        return {"vectors": self._vectors.number, "lexical": self._lexical.number}

    def save(self) -> None:
        """Write the dense index to disk, so that the next process starts from it."""
        self._vectors.save()

    def _catch_up(self) -> bool:
        """Follow the database; return whether there was something to follow."""
        if not self.following:
            return False
        before, latest = self.numbers, self._documents.change_number()
        self._vectors.catch_up(self._documents, latest)
        self._lexical.catch_up(self._documents, latest)
        return self.numbers != before

    def _pool(self, question: str, permitted: frozenset[int], candidates: int) -> Pool:
        """Fetch what either index names and the database confirms.

        What it does not confirm was taken away since the indexes followed it, and may be there again as a
        newer version: then they are asked once more, at most `TRIES` times in all.
        """
        vector, words = self._embedder.embed([question])[0], asked(question)
        for left in reversed(range(TRIES)):
            dense = {hit.id: hit.score for hit in self._vectors.search(vector, permitted, candidates)}
            lexical = {hit.id: hit.score for hit in self._lexical.search(words, permitted, candidates)}
            named = list({**dense, **lexical})
            readable = self._documents.readable(permitted).chunks(named)
            if not left or len(readable) == len(named) or not self._catch_up():
                break
        living = self._current(readable, permitted, question)
        return Pool(
            question=question,
            dense=dense,
            lexical=lexical,
            dense_rest=self._vectors.similarities(vector, [id for id in lexical if id not in dense]),
            lexical_rest=self._lexical.scores(words, [id for id in dense if id not in lexical]),
            rarity={word: self._lexical.rarity(word) for word in content(question)},
            living=living,
            vectors=self._vectors.vectors(list(living)),
        )

    def _spelled(self, pool: Pool, permitted: frozenset[int]) -> dict[str, str]:
        """Return words that no readable chunk holds, with the word of a readable one each may mean."""
        found: dict[str, str] = {}
        for word in pool.unknown:
            if self._embedder.count_tokens(word) < 2:
                continue  # the embedder's own vocabulary holds it: a word, however rare here
            terms = self._lexical.vocabulary(beginning(word), permitted)
            stem = None if stems(word)[0] in terms else meant(word, terms)
            if stem and (form := self._form(stem, permitted)):
                found[word] = form
        return found

    def _form(self, stem: str, permitted: frozenset[int]) -> str | None:
        """Return a stem as a readable document writes it."""
        hits = self._lexical.search([stem], permitted, 1)
        readable = self._documents.readable(permitted).chunks([hit.id for hit in hits])
        for chunk, document in self._current(readable, permitted).values():
            return written(text_of(chunk, document)).get(stem)
        return None

    def _current(
        self, readable: dict[int, tuple[Chunk, Document]], permitted: frozenset[int], question: str = ""
    ) -> dict[int, tuple[Chunk, Document]]:
        """Return what the database confirmed, less what a readable one replaces."""
        owners = {document.id: document for _, document in readable.values()}
        replaced = self._documents.likenesses(permitted).newer(list(owners.values()), question=question)
        return {id: pair for id, pair in readable.items() if pair[1].id not in replaced}
