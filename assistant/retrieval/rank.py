"""The order of passages for one question, and why each stands where it does.

It owns the score of a passage, which is made of how near its vector is and how well its words match, and
the reason that is shown for it. It sees only chunks the asker may read; it reads nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assistant.types import Passage

CHUNKS_PER_DOCUMENT = 2
_WORDS_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A passage and why it stands where it does.

    `dense` and `lexical` are its ranks from 1 in either index, None where that index did not name it.
    `words` are the question's words it holds, the rarest first; `behind` tells what it was moved back for.
    """

    passage: Passage
    dense: int | None
    lexical: int | None
    words: tuple[str, ...] = ()
    behind: str = ""

    @property
    def reason(self) -> str:
        """One line for people: what the passage was found by."""
        parts = [
            f"meaning {_place(self.dense)} (cosine {self.passage.similarity:.2f})",
            f"words {_place(self.lexical)} ({self.passage.coverage:.0%} of the question's weight"
            + (f": {', '.join(self.words[:_WORDS_SHOWN])})" if self.words else ")"),
        ]
        return "; ".join([*parts, *([self.behind] if self.behind else [])])

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


def spread(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Keep the order, but move what exceeds `CHUNKS_PER_DOCUMENT` of one document behind all others."""
    seen: Counter[str] = Counter()
    front: list[Ranked] = []
    behind: list[Ranked] = []
    for each in ranked:
        document = each.passage.document.id
        seen[document] += 1
        if seen[document] <= CHUNKS_PER_DOCUMENT:
            front.append(each)
        else:
            behind.append(replace(each, behind=f"behind others: number {seen[document]} of its document"))
    return front + behind


def _place(rank: int | None) -> str:
    return f"#{rank}" if rank else "—"
