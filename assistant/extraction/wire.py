"""Extracted documents as lines of JSON between the worker process and its client.

It owns the form, and the check that what comes back is what it says: a subverted worker may send any line,
and offsets that point outside their text must not travel further.
"""

from __future__ import annotations

from typing import Any, get_args

from assistant.extraction.extracted import Block, Extracted, Kind, PageSpan

_KINDS: frozenset[str] = frozenset(get_args(Kind))
_PLAIN = ("text", "title", "media_type")
_MAYBE = ("dated", "supersedes", "language")
_DEEPEST = 6  # a plug-in or a subverted worker may say any level, and chunks hold every heading above them


def encoded(extracted: Extracted) -> dict[str, Any]:
    """Return a document without its members as plain values; blocks as short lists."""
    return {
        **{name: getattr(extracted, name) for name in (*_PLAIN, *_MAYBE)},
        "blocks": [[b.kind, b.start, b.end, b.level, b.page] for b in extracted.blocks],
        "pages": [[page.page, page.start, page.end] for page in extracted.pages],
        "notices": list(extracted.notices),
    }


def decoded(said: dict[str, Any]) -> Extracted:
    """Return the document that a line holds.

    Raises:
        ValueError: it holds none, or one whose offsets are wrong.
    """
    try:
        text = said["text"]
        length = len(text)
        blocks = tuple(
            Block(kind=kind, start=start, end=end, level=_level(level), page=page)
            for kind, start, end, level, page in said["blocks"]
        )
        pages = tuple(PageSpan(page=page, start=start, end=end) for page, start, end in said["pages"])
        before = 0
        for block in blocks:
            if block.kind not in _KINDS or not before <= block.start < block.end <= length:
                raise ValueError(f"a block from {block.start} to {block.end}")
            before = block.end
        if any(not 0 <= page.start <= page.end <= length for page in pages):
            raise ValueError("a page outside the text")
        if not all(isinstance(said[name], str) for name in _PLAIN):
            raise ValueError("no text")
        if not all(said[name] is None or isinstance(said[name], str) for name in _MAYBE):
            raise ValueError("no text")
        plain = {name: said[name] for name in (*_PLAIN, *_MAYBE)}
        return Extracted(blocks=blocks, pages=pages, notices=tuple(map(str, said["notices"])), **plain)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no document: {error}") from error


def _level(said: object) -> int:
    if not isinstance(said, int):
        raise TypeError(f"a level {said!r}")
    return min(max(said, 0), _DEEPEST)
