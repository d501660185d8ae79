"""Do passages support a sentence, and where: the check behind every citation.

Lexical on purpose: it can be explained to an auditor and cannot be talked into anything. Figures must
stand in a cited passage exactly; of the other words a share must. It judges form, not entailment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from assistant.types import Citation, Passage
from assistant.words import content_words, figures, measures, numbers, sentence_spans, without_markers


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a text says, as far as it can be checked.

    Content words, figures, numbers it can bear out, and spans of time as (number, unit).
    """

    words: frozenset[str]
    figures: frozenset[str]
    numbers: frozenset[str]
    measures: frozenset[tuple[str, str]]


@lru_cache(maxsize=512)
def said(text: str) -> Said:
    """Take a text apart."""
    return Said(
        words=frozenset(content_words(text)),
        figures=frozenset(figures(text)),
        numbers=frozenset(numbers(text)),
        measures=frozenset(measures(text)),
    )


def support(sentence: str, *passages: Passage) -> float:
    """Share of the sentence's content words that the passages (or their title paths) hold together.

    Zero if a figure of the sentence stands in none of them, or stands there with another unit of time. Of a
    joined passage only two parts that follow each other count: words from afar say nothing together.
    """
    claimed = said(sentence)
    return _support(claimed, [_held(claimed, passage) for passage in passages])


def _support(claimed: Said, held: Sequence[Said]) -> float:
    if not claimed.words or not claimed.figures <= frozenset[str]().union(*(each.numbers for each in held)):
        return 0.0
    if any(_misread(measure, held) for measure in claimed.measures):
        return 0.0
    words = frozenset[str]().union(*(each.words for each in held))
    return len(claimed.words & words) / len(claimed.words)


def _held(claimed: Said, passage: Passage) -> Said:
    """Return what a passage says where it is nearest to the claim."""
    views = [said(without_markers(view)) for view in passage.views]
    return max(views, key=lambda view: (_support(claimed, [view]), len(claimed.words & view.words)))


def _misread(measure: tuple[str, str], held: Sequence[Said]) -> bool:
    """Whether no passage has this span of time, and its number has another unit there, or no unit."""
    number, unit = measure
    if any(measure in each.measures for each in held):
        return False
    other = any(number == n for each in held for n, _ in each.measures)
    return other or not any(unit in each.words for each in held)


def supporting(sentence: str, passages: Sequence[Passage], claimed: Sequence[int], least: float) -> list[int]:
    """Return numbers (from 1) of passages that support the sentence to at least `least`.

    Of the claimed ones those that do alone; else all that do together, if each has a part in it; else
    the best of all passages; else none.
    """
    valid = [number for number in claimed if 1 <= number <= len(passages)]
    alone = [number for number in valid if support(sentence, passages[number - 1]) >= least]
    if alone:
        return alone
    together = [number for number in valid if _shares(sentence, passages[number - 1])]
    if len(together) > 1 and support(sentence, *(passages[number - 1] for number in together)) >= least:
        return together
    shares = [support(sentence, passage) for passage in passages]
    best = max(range(len(shares)), key=shares.__getitem__, default=0)
    return [best + 1] if shares and shares[best] >= least and shares[best] > 0 else []


def _shares(sentence: str, passage: Passage) -> bool:
    """Whether a passage holds at least a quarter of the sentence's words."""
    claimed = said(sentence)
    return len(claimed.words & _held(claimed, passage).words) * 4 >= len(claimed.words) > 0


def quote(sentence: str, passage: Passage, number: int) -> Citation:
    """Cite the sentence of the passage that shares most with `sentence`, by its place in the document."""
    claimed = said(sentence).words | said(sentence).figures
    text = passage.chunk.text

    def shared(span: tuple[int, int]) -> float:
        words = said(text[span[0] : span[1]]).words | said(text[span[0] : span[1]]).figures
        return len(words & claimed) / (len(words | claimed) ** 0.5 or 1)

    start, end = max(sentence_spans(text), key=shared, default=(0, len(text)))
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace():
        start += 1
    return Citation(
        number=number,
        document_id=passage.document.id,
        source=passage.document.source,
        uri=passage.document.uri,
        title=passage.document.title,
        page=passage.page_at(start),
        start=passage.chunk.start + start,
        end=passage.chunk.start + end,
        quote=text[start:end],
    )
