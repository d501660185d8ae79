"""Passages that say the same in copies of one document: one of them takes a place, the others are named.

It owns what counts as the same and which copy is kept: the newest. It sees only passages that the asker may
read, so a copy in a document they may not read neither takes a place nor is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from assistant import minhash
from assistant.minhash import Hashes
from assistant.retrieval.rank import LOOKED_AT, Ranked
from assistant.store.likenesses import NEAR
from assistant.types import Chunk, Document

Sketches = Callable[[Sequence[str]], Mapping[str, Hashes]]

_SAME_PASSAGE = 0.9  # share of words that both hold
_SAME_MEANING = 0.1  # most that their cosines to one question differ by
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")


def merged(ranked: Sequence[Ranked], sketches: Sketches, *, wanted: int) -> list[Ranked]:
    """Keep the order, and of passages that repeat each other one, at the place of the first.

    Passages repeat each other where their documents are near-duplicates, and they hold the same words of the
    question, the same numbers and nearly the same text: a copy that answers something else stays.

    Args:
        ranked: best first.
        sketches: those of documents, by id; asked once, and only where passages are the same.
        wanted: passages in the end; far behind that nothing is looked at.
    """
    groups: list[list[Ranked]] = []
    by_words: dict[frozenset[str], list[list[Ranked]]] = {}
    looked_at = ranked[: LOOKED_AT * wanted]
    same = _Same(sketches, sorted({each.passage.document.id for each in looked_at}))
    for each in looked_at:
        alike = by_words.setdefault(frozenset(each.words), [])
        group = next((group for group in alike if same(each, group[0])), None)
        if group is None:
            group = []
            groups.append(group)
            alike.append(group)
        group.append(each)
    kept = [group[0] if len(group) == 1 else _newest(group) for group in groups]
    return kept + list(ranked[LOOKED_AT * wanted :])


class _Same:
    """Whether two passages say the same in copies of one document; what costs least is looked at first."""

    def __init__(self, sketches: Sketches, ids: Sequence[str]) -> None:
        self._sketches, self._ids = sketches, ids
        self._copies: dict[frozenset[str], bool] = {}
        self._words: dict[int, frozenset[str]] = {}

    def __call__(self, one: Ranked, other: Ranked) -> bool:
        mine, theirs = one.passage, other.passage
        ids = frozenset((mine.document.id, theirs.document.id))
        if len(ids) == 1 or abs(mine.similarity - theirs.similarity) > _SAME_MEANING:
            return False
        if mine.chunk.text != theirs.chunk.text and not self._nearly(mine.chunk, theirs.chunk):
            return False
        if ids not in self._copies:
            found = [self._known[id] for id in ids if id in self._known]
            self._copies[ids] = len(found) == len(ids) and minhash.alike(*found) >= NEAR
        return self._copies[ids]

    @cached_property
    def _known(self) -> Mapping[str, Hashes]:
        return self._sketches(self._ids)

    def _nearly(self, one: Chunk, other: Chunk) -> bool:
        if min(len(one.text), len(other.text)) < _SAME_PASSAGE * max(len(one.text), len(other.text)):
            return False
        mine, theirs = self._of(one), self._of(other)
        if len(mine & theirs) < _SAME_PASSAGE * len(mine | theirs):
            return False
        return _NUMBER.findall(one.text) == _NUMBER.findall(other.text)

    def _of(self, chunk: Chunk) -> frozenset[str]:
        if chunk.id not in self._words:
            self._words[chunk.id] = frozenset(chunk.text.casefold().split())
        return self._words[chunk.id]


def _newest(group: Sequence[Ranked]) -> Ranked:
    """Return the passage of the newest copy, at the best place; the others are named beside it."""
    kept = max(group, key=lambda each: _age(each.passage.document))
    others = [each.passage.document for each in group if each is not kept]
    names = sorted({f"{document.source}:{document.uri}" for document in others})
    best = max(each.passage.score for each in group)
    return replace(kept, passage=replace(kept.passage, score=best), also=tuple(names))


def _age(document: Document) -> tuple[str, str, str]:
    """Order documents by their own date, then by when they were read."""
    read = document.ingested_at.isoformat() if document.ingested_at else ""
    return document.dated or "", read, document.id
