"""Cutting a text into chunks along its structure.

Every chunk is a span of the text, `text == extracted.text[start:end]`, within one section, or several
small neighbouring ones; a table is never cut inside a row, a list inside an item, a paragraph inside a
sentence unless one alone is too long. Headings above a chunk travel beside it, not in it; with them it
never has more tokens than the embedder takes. It refuses to overlap: what stands in two chunks would be
retrieved and paid for twice.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from assistant.extraction.extracted import Block, Extracted
from assistant.store.records import NewChunk, title_path

_SENTENCE_END = re.compile(
    r"(?<=[.!?:;])[)\"'”’]*\s+(?=[^\sa-z])|\n|(?<=[。！？；])[」』）”’]*(?![。！？；」』）”’])"
)
_LINE_END = re.compile(r"\n")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_BREAKS = (_LINE_END, re.compile(r"\| "), re.compile(r"[,;:] |[。，、；：]"), re.compile(r"\s"))
_CHARACTERS_PER_TOKEN = 16  # a tokenizer may count a word of any length as one
_UNBOUNDED = 1 << 40
Count = Callable[[str], int]
Fits = Callable[[str], bool]
Headings = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A piece that is not cut further, or a chunk in the making."""

    start: int
    end: int
    tokens: int
    headings: tuple[str, ...] = ()
    heading_start: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How large things may be, in tokens: a chunk should be, and what is embedded of it must be."""

    title: str
    aim: int
    longest: int
    count: Count

    def path(self, headings: tuple[str, ...]) -> tuple[str, ...]:
        """Return the innermost headings, as many as leave half of the room to the text."""
        while headings and self.count(title_path(self.title, headings)) > self.longest // 2:
            headings = headings[1:]
        return headings

    def fits(self, headings: tuple[str, ...]) -> Fits:
        """Return what tells whether a text can be embedded whole under these headings."""
        above = title_path(self.title, self.path(headings))
        return lambda text: _size(f"{above}\n{text}", self.count) <= self.longest


def chunk(
    extracted: Extracted, *, max_tokens: int, count: Count, title: str = "", longest: int = _UNBOUNDED
) -> tuple[NewChunk, ...]:
    """Return the chunks of a document in order.

    Args:
        max_tokens: size of the largest chunk; only a single table row may be larger, if it can be embedded.
        count: tokens of a text, from the embedder.
        title: the document's, `shortened` to a quarter of `longest`.
        longest: tokens that the embedder takes; title path and chunk together never have more.
    """
    text = extracted.text
    title = shortened(title, longest // 4, count)
    rule = _Rule(title=title, aim=min(max_tokens, longest), longest=longest, count=count)
    packed = [span for section in _sections(extracted, rule) for span in _packed(text, section, rule)]
    spans = [part for span in _merged(text, packed, rule) for part in _fitted(text, span, rule)]
    starts = [block.start for block in extracted.blocks]
    return tuple(
        NewChunk(
            ordinal=ordinal,
            text=text[span.start : span.end],
            start=span.start,
            end=span.end,
            page=extracted.blocks[bisect_right(starts, span.start) - 1].page,
            headings=rule.path(span.headings),
        )
        for ordinal, span in enumerate(spans)
    )


def shortened(title: str, tokens: int, count: Count) -> str:
    """Return a title of at most `tokens` tokens: a longer one ends in an ellipsis."""
    if _size(title, count) <= tokens:
        return title
    lengths = range(len(title))
    kept = title[: max(bisect_right(lengths, tokens, key=lambda n: _size(f"{title[:n]}…", count)) - 1, 0)]
    return f"{kept.rpartition(' ')[0] or kept}…"


def _size(text: str, count: Count) -> int:
    return max(count(text), -(-len(text) // _CHARACTERS_PER_TOKEN))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """Blocks under one heading, whose start is known if it stands before them."""

    headings: tuple[str, ...]
    heading_start: int | None
    blocks: list[Block]


def _sections(extracted: Extracted, rule: _Rule) -> Iterator[_Section]:
    """Yield the sections. A heading with nothing below it is its section's only block.

    One that takes more than a quarter of the room is text, which would be lost outside of the chunks.
    """
    stack: Headings = ()
    own: Block | None = None
    body: list[Block] = []
    for block in extracted.blocks:
        words = " ".join(extracted.text[block.start : block.end].split()) if block.kind == "heading" else ""
        if not words or _size(words, rule.count) > rule.longest // 4:
            body.append(block)
            continue
        above = tuple(entry for entry in stack if entry[0] < block.level)
        if body or (own and above != stack):
            yield _section(stack, own, body)
        stack = (*above, (block.level, words))
        own, body = block, []
    if own or body:
        yield _section(stack, own, body)


def _section(stack: Headings, own: Block | None, body: list[Block]) -> _Section:
    headings = tuple(text for _, text in stack)
    if own and not body:
        return _Section(headings=headings[:-1], heading_start=None, blocks=[own])
    return _Section(headings=headings, heading_start=own.start if own else None, blocks=body)


def _packed(text: str, section: _Section, rule: _Rule) -> Iterator[_Span]:
    """Fill chunks with the blocks of one section; a block is cut only when it is too large for one."""
    current: _Span | None = None
    heading_start = section.heading_start
    for group in _groups(text, section.blocks):
        whole = _span(text, group[0].start, group[-1].end, rule)
        pieces = (
            [whole]
            if whole.tokens <= rule.aim
            else [piece for block in group for piece in _pieces(text, block, rule)]
        )
        for piece in pieces:
            if current and current.tokens + piece.tokens <= rule.aim:
                current = replace(current, end=piece.end, tokens=current.tokens + piece.tokens)
                continue
            if current:
                yield current
                heading_start = None
            current = replace(piece, headings=section.headings, heading_start=heading_start)
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


def _pieces(text: str, block: Block, rule: _Rule) -> Iterator[_Span]:
    """Cut a block where its kind allows; what is still too long is halved, unless it is a table row."""
    boundary = _LINE_END if block.kind in ("table", "list") else _SENTENCE_END
    if block.kind == "code":
        boundary = _BLANK_LINE
    for start, end in _between(text, block.start, block.end, boundary):
        piece = _span(text, start, end, rule)
        if piece.tokens <= rule.aim or block.kind == "table":
            yield piece
        elif block.kind == "code":
            for line_start, line_end in _between(text, start, end, _LINE_END):
                yield from _halves(text, _span(text, line_start, line_end, rule), rule)
        else:
            yield from _halves(text, piece, rule)


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


def _halves(text: str, span: _Span, rule: _Rule, fits: Fits | None = None) -> Iterator[_Span]:
    """Cut what does not fit, else what is larger than aimed at, at the best place near its middle."""
    start, end = span.start, span.end
    if end - start < 2 or (fits(text[start:end]) if fits else span.tokens <= rule.aim):
        yield span
        return
    cut = _middle(text, start, end)
    after = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
    for half_start, half_end in ((start, start + len(text[start:cut].rstrip())), (after, end)):
        if half_start < half_end:
            half = _span(text, half_start, half_end, rule)
            yield from _halves(text, half, rule, fits)


def _middle(text: str, start: int, end: int) -> int:
    middle, quarter = (start + end) // 2, (end - start) // 4
    for boundary in _BREAKS:
        places = [match.end() for match in boundary.finditer(text, start + quarter, end - quarter)]
        if places:
            return min(places, key=lambda at: abs(at - middle))
    return middle


def _span(text: str, start: int, end: int, rule: _Rule) -> _Span:
    return _Span(start=start, end=end, tokens=_size(text[start:end], rule.count))


def _merged(text: str, spans: list[_Span], rule: _Rule) -> Iterator[_Span]:
    """Join a chunk that is much too small with its neighbour of the same parent section."""
    current: _Span | None = None
    for span in spans:
        joined = _joined(text, current, span, rule) if current else None
        if current and not joined:
            yield current
        current = joined or span
    if current:
        yield current


def _joined(text: str, one: _Span, other: _Span, rule: _Rule) -> _Span | None:
    """Return two chunks and what heads them as one; None if they do not belong together, or do not fit."""
    small = rule.aim // 5
    if one.tokens + other.tokens > rule.aim or (one.tokens >= small and other.tokens >= small // 2):
        return None
    common = _common(one.headings, other.headings)
    heads = common != one.headings
    if heads and one.heading_start is None:
        return None  # the rest of a section would lose the heading it stands under
    if len(common) < max(len(one.headings), len(other.headings)) - 1:
        return None
    start = one.start if one.heading_start is None or not heads else one.heading_start
    tokens = _size(text[start : other.end], rule.count)
    if tokens > rule.aim:
        return None
    return replace(
        one,
        start=start,
        end=other.end,
        tokens=tokens,
        headings=common,
        heading_start=None if heads else one.heading_start,
    )


def _fitted(text: str, span: _Span, rule: _Rule) -> Iterator[_Span]:
    """Yield a chunk as it is if it can be embedded whole under its headings, else the parts that can."""
    for part in _halves(text, span, rule, rule.fits(span.headings)):
        yield replace(part, headings=span.headings)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    common: list[str] = []
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        common.append(mine)
    return tuple(common)
