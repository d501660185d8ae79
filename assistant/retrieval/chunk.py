"""Cutting a text into chunks along its structure.

Every chunk is a span of the text, `text == extracted.text[start:end]`, within one section, or several
small neighbouring ones; a table is never cut inside a row, a list inside an item, a paragraph inside a
sentence unless one alone is too long. Headings above a chunk travel beside it, not in it. It refuses to
overlap: what stands in two chunks would be retrieved and paid for twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from assistant.extraction.extracted import Block, Extracted
from assistant.store.records import NewChunk

_SENTENCE_END = re.compile(r"(?<=[.!?:;])[)\"'”’]*\s+(?=[^\sa-z])|\n")
_LINE_END = re.compile(r"\n")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
Count = Callable[[str], int]
Headings = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A piece that is not cut further, or a chunk in the making."""

    start: int
    end: int
    tokens: int
    page: int | None = None
    headings: tuple[str, ...] = ()
    heading_start: int | None = None


def chunk(extracted: Extracted, *, max_tokens: int, count: Count) -> tuple[NewChunk, ...]:
    """Return the chunks of a document in order.

    Args:
        max_tokens: aimed-at size of the largest chunk; only a single table row may be larger.
        count: tokens of a text, from the embedder.
    """
    spans = [
        span
        for headings, heading_start, blocks in _sections(extracted)
        for span in _packed(extracted.text, headings, heading_start, blocks, max_tokens, count)
    ]
    return tuple(
        NewChunk(
            ordinal=ordinal,
            text=extracted.text[span.start : span.end],
            start=span.start,
            end=span.end,
            page=span.page,
            headings=span.headings,
        )
        for ordinal, span in enumerate(_merged(spans, max_tokens))
    )


def _sections(extracted: Extracted) -> Iterator[tuple[tuple[str, ...], int | None, list[Block]]]:
    """Yield headings, start of the own heading, and blocks of each section.

    A heading with nothing below it is its section's only block.
    """
    stack: Headings = ()
    own: Block | None = None
    body: list[Block] = []
    for block in extracted.blocks:
        if block.kind != "heading":
            body.append(block)
            continue
        above = tuple(entry for entry in stack if entry[0] < block.level)
        if body or (own and above != stack):
            yield _section(stack, own, body)
        stack = (*above, (block.level, " ".join(extracted.text[block.start : block.end].split())))
        own, body = block, []
    if own or body:
        yield _section(stack, own, body)


def _section(
    stack: Headings, own: Block | None, body: list[Block]
) -> tuple[tuple[str, ...], int | None, list[Block]]:
    headings = tuple(text for _, text in stack)
    if own and not body:
        return headings[:-1], None, [own]
    return headings, own.start if own else None, body


def _packed(
    text: str,
    headings: tuple[str, ...],
    heading_start: int | None,
    blocks: list[Block],
    max_tokens: int,
    count: Count,
) -> Iterator[_Span]:
    """Fill chunks with the blocks of one section; a block is cut only when it is too large for one."""
    current: _Span | None = None
    for group in _groups(text, blocks):
        whole = _span(text, group[0].start, group[-1].end, group[0].page, count)
        pieces = (
            [whole]
            if whole.tokens <= max_tokens
            else [piece for block in group for piece in _pieces(text, block, max_tokens, count)]
        )
        for piece in pieces:
            if current and current.tokens + piece.tokens <= max_tokens:
                current = replace(current, end=piece.end, tokens=current.tokens + piece.tokens)
                continue
            if current:
                yield current
                heading_start = None
            current = replace(piece, headings=headings, heading_start=heading_start)
    if current:
        yield current


def _groups(text: str, blocks: list[Block]) -> Iterator[list[Block]]:
    """Yield blocks that belong together: a line that ends in a colon stays with what it announces."""
    group: list[Block] = []
    for block in blocks:
        group.append(block)
        if block.kind != "paragraph" or not text[block.start : block.end].endswith(":"):
            yield group
            group = []
    if group:
        yield group


def _pieces(text: str, block: Block, max_tokens: int, count: Count) -> Iterator[_Span]:
    """Cut a block where its kind allows; what is still too long is halved, a table row never."""
    boundary = _LINE_END if block.kind in ("table", "list") else _SENTENCE_END
    if block.kind == "code":
        boundary = _BLANK_LINE
    for start, end in _between(text, block.start, block.end, boundary):
        piece = _span(text, start, end, block.page, count)
        if piece.tokens <= max_tokens or block.kind == "table":
            yield piece
        elif block.kind == "code":
            for line_start, line_end in _between(text, start, end, _LINE_END):
                yield from _halves(text, line_start, line_end, block.page, max_tokens, count)
        else:
            yield from _halves(text, start, end, block.page, max_tokens, count)


def _between(text: str, start: int, end: int, boundary: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    at = start
    for match in boundary.finditer(text, start, end):
        if text[at : match.start()].strip():
            # closing quotes and brackets belong to the sentence before
            stop = match.start() + len(match.group().rstrip())
            yield at, stop
            at = match.end()
    if text[at:end].strip():
        yield at, end


def _halves(
    text: str, start: int, end: int, page: int | None, max_tokens: int, count: Count
) -> Iterator[_Span]:
    span = _span(text, start, end, page, count)
    if span.tokens <= max_tokens or end - start < 2:
        yield span
        return
    middle = (start + end) // 2
    space = text.rfind(" ", start + 1, middle)
    cut = space if space > start else middle
    yield from _halves(text, start, cut, page, max_tokens, count)
    after = cut + (len(text[cut:end]) - len(text[cut:end].lstrip(" ")))
    if after < end:
        yield from _halves(text, after, end, page, max_tokens, count)


def _span(text: str, start: int, end: int, page: int | None, count: Count) -> _Span:
    return _Span(start=start, end=end, tokens=count(text[start:end]), page=page)


def _merged(spans: list[_Span], max_tokens: int) -> Iterator[_Span]:
    """Join a chunk that is much too small with its neighbour of the same parent section."""
    current: _Span | None = None
    for span in spans:
        if current and _belong(current, span, max_tokens):
            common = _common(current.headings, span.headings)
            heads = common != current.headings and current.heading_start is not None
            current = replace(
                current,
                start=current.heading_start if heads and current.heading_start is not None else current.start,
                end=span.end,
                tokens=current.tokens + span.tokens,
                headings=common,
                heading_start=None if heads else current.heading_start,
            )
            continue
        if current:
            yield current
        current = span
    if current:
        yield current


def _belong(one: _Span, other: _Span, max_tokens: int) -> bool:
    small = max_tokens // 5
    if one.tokens + other.tokens > max_tokens or (one.tokens >= small and other.tokens >= small // 2):
        return False
    common = _common(one.headings, other.headings)
    if common != one.headings and one.heading_start is None:
        return False  # the rest of a section would lose the heading it stands under
    depth = len(common)
    return depth >= max(len(one.headings), len(other.headings)) - 1


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    common: list[str] = []
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        common.append(mine)
    return tuple(common)
