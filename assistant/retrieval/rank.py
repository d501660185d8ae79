"""The order of passages for one question, and why each stands where it does.

It owns the score of a passage, which is made of how near its vector is and how well its words match, and
the reason that is shown for it. It sees only chunks the asker may read; it reads nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.fuse import cosines
from assistant.types import Passage

LIKENESS, LIKENESS_WEIGHT = 0.5, 0.2
"""How like two passages of one document may be for nothing, as a cosine, and how much of what exceeds it is
taken off the second one's score. Token recall of marked spans in the first five, five large documents, a copy
of the search in numpy: .857 without; .861 to .872 at likenesses of 0 to 0.6 with weights of 0.05 to 0.3, down
to .816 with 0.5; .683 to .847 with caps on neighbouring chunks instead."""
LOOKED_AT = 4
"""Times as many passages as are wanted are looked at for repetition; behind them the order stays."""
_WORDS_SHOWN = 8
Known = tuple[Sequence[int], NDArray[np.float32]]
"""Ids of chunks and their unit vectors, shape (chunks, dimensions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A passage and why it stands where it does.

    `dense` and `lexical` are its ranks from 1 in either index, None where that index did not name it.
    `words` are the question's words it holds, the rarest first; `behind` tells what it lost of its score for.
    `also` names copies of its document, as source:path, that say the same; `reread` is a cross-encoder's
    score in [0, 1], None where none read it.
    """

    passage: Passage
    dense: int | None
    lexical: int | None
    words: tuple[str, ...] = ()
    behind: str = ""
    also: tuple[str, ...] = ()
    reread: float | None = None

    @property
    def reason(self) -> str:
        """One line for people: what the passage was found by."""
        parts = [
            f"meaning {_place(self.dense)} (cosine {self.passage.similarity:.2f})",
            f"words {_place(self.lexical)} ({self.passage.coverage:.0%} of the question's weight"
            + (f": {', '.join(self.words[:_WORDS_SHOWN])})" if self.words else ")"),
        ]
        if self.reread is not None:
            parts.insert(0, f"cross-encoder {self.reread:.2f}")
        also = f"also in {', '.join(self.also)}" if self.also else ""
        return "; ".join([*parts, *filter(None, (self.behind, also))])

    @property
    def plain(self) -> dict[str, object]:
        """What is shown of it to people and programs."""
        passage, chunk = self.passage, self.passage.chunk
        return {
            "document_id": passage.document.id,
            "source": passage.document.source,
            "uri": passage.document.uri,
            "heading": passage.heading,
            "page": chunk.page,
            "start": chunk.start,
            "end": chunk.end,
            "text": chunk.text,
            "score": passage.score,
            "similarity": passage.similarity,
            "coverage": passage.coverage,
            "dense_rank": self.dense,
            "lexical_rank": self.lexical,
            "words": self.words,
            "also": self.also,
            "reranker_score": self.reread,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found: the question as it was searched, and the passages, best first.

    `spelled` holds words that no readable document has, with the word that was searched in their place.
    """

    question: str
    ranked: tuple[Ranked, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)

    @property
    def passages(self) -> list[Passage]:
        """The passages alone, best first."""
        return [ranked.passage for ranked in self.ranked]


def best_first(ranked: Iterable[Ranked]) -> list[Ranked]:
    """Order by score; equals keep the order of their chunks, so that a search repeats exactly."""
    return sorted(ranked, key=lambda each: (-each.passage.score, each.passage.chunk.id))


def places(scores: Mapping[int, float]) -> dict[int, int]:
    """Return the rank, from 1, of every id."""
    order = sorted(scores, key=lambda id: (-scores[id], id))
    return {id: place for place, id in enumerate(order, 1)}


def spread(ranked: Sequence[Ranked], known: Known, *, wanted: int) -> list[Ranked]:
    """Order anew so that what a document says again stands behind what was not said yet.

    Greedy, by maximal marginal relevance (Carbonell, Goldstein 1998, doi 10.1145/290941.291025), but among
    chunks of one document only: several documents that agree support each other, and a long document that
    answers in many places may take all of them.

    Args:
        ranked: best first.
        known: the vectors of the ranked; one without never repeats anything.
        wanted: passages in the end; far behind that the order stays.
    """
    looked_at = list(ranked[: LOOKED_AT * wanted])
    owners = np.array([each.passage.document.id for each in looked_at])
    if len(set(owners.tolist())) == len(looked_at):
        return list(ranked)
    likeness = _likeness(looked_at, owners, *known)
    scores = np.array([each.passage.score for each in looked_at])
    highest = np.zeros(len(looked_at))
    left = np.ones(len(looked_at), dtype=bool)
    order: list[Ranked] = []
    while left.any() and len(order) < wanted:
        loss = LIKENESS_WEIGHT * (highest - LIKENESS).clip(0)
        place = int(np.argmax(np.where(left, scores - loss, -np.inf)))
        order.append(_told(looked_at[place], float(highest[place]) if loss[place] else 0.0))
        left[place] = False
        highest = np.maximum(highest, likeness[place])
    rest = [each for each, waits in zip(looked_at, left, strict=True) if waits]
    return [*order, *rest, *ranked[len(looked_at) :]]


def _likeness(
    ranked: Sequence[Ranked], owners: NDArray[np.str_], ids: Sequence[int], rows: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the cosines between passages of one document, 0 between all others, shape (ranked, ranked)."""
    at = {id: row for row, id in enumerate(ids)}
    places = [place for place, each in enumerate(ranked) if each.passage.chunk.id in at]
    likeness = np.zeros((len(ranked), len(ranked)))
    own = rows[[at[ranked[place].passage.chunk.id] for place in places]]
    likeness[np.ix_(places, places)] = cosines(own)
    likeness[owners[:, None] != owners[None, :]] = 0
    return likeness


def _told(ranked: Ranked, likeness: float) -> Ranked:
    """Return it with the reason why it lost some of its score, if it did."""
    said = f"less for what it repeats of its document (cosine {likeness:.2f})"
    return replace(ranked, behind=said) if likeness else ranked


def _place(rank: int | None) -> str:
    return f"#{rank}" if rank else "—"
