"""Candidates of one question, from both indexes and confirmed by the database, and their scores.

It owns the score of a passage, which is made of how near its vector is, how well its words match, and how
well those of the most similar candidates do. It
reads nothing itself: whoever fills it has checked that the asker may read every chunk of `living`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from assistant.retrieval.fuse import agreed, convex
from assistant.retrieval.rank import Known, Ranked, places
from assistant.retrieval.spelling import correctable
from assistant.retrieval.words import covered, stems, written
from assistant.types import Chunk, Document, Passage


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What both indexes named for a question.

    `dense` and `lexical` are the scores of what each index named, `dense_rest` and `lexical_rest` those of
    what only the other one did: what an index did not name is not worthless to it. `rarity` is the inverse
    document frequency of each stem of the question as it was asked: a word that was respelled is no evidence.
    `vectors` are those of living chunks.
    """

    question: str
    dense: Mapping[int, float]
    lexical: Mapping[int, float]
    dense_rest: Mapping[int, float]
    lexical_rest: Mapping[int, float]
    rarity: Mapping[str, float]
    living: Mapping[int, tuple[Chunk, Document]]
    vectors: Known

    @cached_property
    def stems(self) -> dict[int, frozenset[str]]:
        """Stems of each living chunk, its title path included."""
        return {id: frozenset(stems(text_of(*pair))) for id, pair in self.living.items()}

    @cached_property
    def written(self) -> dict[str, str]:
        """The question's words as they are written, by stem."""
        return written(self.question)

    @property
    def unknown(self) -> list[str]:
        """Words in lower case that stand in no candidate and could be misspelt."""
        held = frozenset().union(*self.stems.values())
        words = [self.written.get(stem, stem).lower() for stem in self.rarity if stem not in held]
        return [word for word in words if correctable(word)]

    def ranked(self) -> Iterator[Ranked]:
        """Yield each living candidate with its score and why, in no order."""
        similarity = {**self.dense_rest, **self.dense}
        scores = convex(similarity, {**self.lexical_rest, **self.lexical})
        scores = agreed(scores, *self.vectors)
        dense, lexical = places(self.dense), places(self.lexical)
        for id, (chunk, document) in self.living.items():
            there = self.stems[id]
            words = sorted(
                (stem for stem in self.rarity if stem in there), key=lambda stem: -self.rarity[stem]
            )
            yield Ranked(
                passage=Passage(
                    chunk=chunk,
                    document=document,
                    score=scores[id],
                    similarity=similarity.get(id, 0.0),
                    coverage=covered(there, self.rarity),
                ),
                dense=dense.get(id),
                lexical=lexical.get(id),
                words=tuple(self.written.get(stem, stem) for stem in words),
            )


def text_of(chunk: Chunk, document: Document) -> str:
    """Return all the words of a chunk that count: its title, the headings above it, its text."""
    return " ".join([document.title, *chunk.headings, chunk.text])
