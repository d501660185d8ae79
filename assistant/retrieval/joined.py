"""Passages together with the text around them, as many as a budget holds; what touches becomes one passage.

An answer often goes on in the next chunk, and what stands beside a hit says more about it than the hit after
next. It owns which chunks are taken along and what a joined passage is. It ranks nothing, and reads only
through what is handed in, which has checked that the asker may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from assistant.types import Chunk, Document, Passage

FIRST = 3
"""Of so many passages the chunks before and after are taken along. Questions whose tokens all stand in 1,500
tokens of passages, 816 questions, sixteen passages, a copy of the search in numpy: .547 without, .554 with
three, .550 to .558 with one to eight, .547 with two chunks on either side of the first two; .533 where chunks
that touch stay passages of their own, each with its title."""
_STEPS = (1, -1)
_AROUND = 6  # tokens of a passage's number and line ends
Count = Callable[[str], int]
Place = tuple[str, int]


def beside(passages: Sequence[Passage]) -> list[int]:
    """Return the ids that the chunks after and before the first passages have.

    A document's chunks are stored in order and at once, so they are its neighbours' numbers; where another
    writer came between, that chunk is another document's and is not joined.
    """
    return [passage.chunk.id + step for passage in passages[:FIRST] for step in _STEPS]


def joined(
    passages: Sequence[Passage],
    near: Mapping[int, tuple[Chunk, Document]],
    *,
    text: Callable[[str, int, int], str | None],
    budget: int,
    count: Count,
) -> tuple[Passage, ...]:
    """Return passages with what stands beside the first ones, in the order of their best.

    The first passage is there whatever its size.

    Args:
        passages: best first.
        near: chunks that the ids of `beside` name, confirmed by the database.
        text: a document's text between two offsets; None if it is gone.
        budget: tokens for all, titles included.
        count: tokens of a text, from the engine.
    """
    ranks = {_place(passage.chunk): rank for rank, passage in enumerate(passages)}
    taken: dict[Place, Chunk] = {}

    def take(chunk: Chunk, document: Document) -> None:
        nonlocal budget
        size = count(chunk.text) + _above(chunk, document, taken, count)
        if _place(chunk) not in taken and (size <= budget or not taken):
            taken[_place(chunk)] = chunk
            budget -= size

    for passage in passages[:FIRST]:
        take(passage.chunk, passage.document)
    for passage in passages[:FIRST]:
        if _place(passage.chunk) in taken:
            for chunk, document in _neighbours(passage.chunk, near):
                take(chunk, document)
    for passage in passages[FIRST:]:
        take(passage.chunk, passage.document)
    found: dict[int, Passage] = {}
    for run in _runs(taken.values()):
        if ranked := [ranks[_place(chunk)] for chunk in run if _place(chunk) in ranks]:
            found[min(ranked)] = _passage(run, passages[min(ranked)], text)
    return tuple(found[rank] for rank in sorted(found))


def _neighbours(chunk: Chunk, near: Mapping[int, tuple[Chunk, Document]]) -> Iterator[tuple[Chunk, Document]]:
    """Yield the chunks after and before one, in its own document."""
    for step in _STEPS:
        found = near.get(chunk.id + step)
        if found and _place(found[0]) == (chunk.document_id, chunk.ordinal + step):
            yield found


def _place(chunk: Chunk) -> Place:
    return chunk.document_id, chunk.ordinal


def _above(chunk: Chunk, document: Document, taken: Mapping[Place, Chunk], count: Count) -> int:
    """Return how many tokens stand above a chunk at most: its title path, unless it only goes on."""
    for step in (-1, 1):
        other = taken.get((chunk.document_id, chunk.ordinal + step))
        if other and other.headings == chunk.headings:
            return _AROUND
    return count(Passage(chunk=chunk, document=document, score=0.0).heading) + _AROUND


def _runs(chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Yield chunks that stand side by side in one document, in order."""
    run: list[Chunk] = []
    for chunk in sorted(chunks, key=_place):
        if run and _place(chunk) != (run[-1].document_id, run[-1].ordinal + 1):
            yield run
            run = []
        run.append(chunk)
    if run:
        yield run


def _passage(run: Sequence[Chunk], hit: Passage, text: Callable[[str, int, int], str | None]) -> Passage:
    """Join a run into its best hit; a document that was replaced meanwhile leaves the hit alone."""
    first, last = run[0], run[-1]
    whole = text(first.document_id, first.start, last.end) if len(run) > 1 else None
    if whole is None or any(not whole.startswith(part.text, part.start - first.start) for part in run):
        return hit
    return replace(hit, chunk=replace(first, text=whole, end=last.end), parts=tuple(run))
