"""The cutters that others use, as other sides: LangChain's recursive one, and one of a fixed size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from assistant.store.documents import NewChunk

SEPARATORS = ("\n\n", "\n", " ", "")
Count = Callable[[str], int]
Span = tuple[int, int]


def recursive(text: str, *, size: int, count: Count) -> list[NewChunk]:
    """Cut as RecursiveCharacterTextSplitter does with its default separators, without overlap."""
    return _chunks(text, _merged(text, _pieces(text, 0, len(text), SEPARATORS, size, count), size, count))


def fixed(text: str, *, size: int, count: Count) -> list[NewChunk]:
    """Cut into pieces of `size` tokens at spaces, whatever stands there."""
    words = [(at, at + len(word)) for at, word in _words(text)]
    return _chunks(text, _merged(text, iter(words), size, count))


def _pieces(
    text: str, start: int, end: int, separators: tuple[str, ...], size: int, count: Count
) -> Iterator[Span]:
    """Yield spans that fit: split at the first separator that occurs, and what is too large at the next."""
    if count(text[start:end]) <= size or not separators[0]:
        yield start, end
        return
    separator, at = separators[0], start
    while at < end:
        found = text.find(separator, at, end)
        stop = end if found < 0 else found + len(separator)
        yield from _pieces(text, at, stop, separators[1:], size, count)
        at = stop


def _merged(text: str, pieces: Iterator[Span], size: int, count: Count) -> Iterator[Span]:
    """Join neighbours while they fit."""
    start = end = tokens = 0
    for piece in pieces:
        own = count(text[piece[0] : piece[1]])
        if tokens and tokens + own > size:
            yield start, end
            tokens = 0
        start, end, tokens = (piece[0] if not tokens else start), piece[1], tokens + own
    if tokens:
        yield start, end


def _chunks(text: str, spans: Iterator[Span]) -> list[NewChunk]:
    kept = [span for span in spans if text[span[0] : span[1]].strip()]
    return [
        NewChunk(ordinal=ordinal, text=text[start:end], start=start, end=end)
        for ordinal, (start, end) in enumerate(kept)
    ]


def _words(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for word in text.split(" "):
        yield at, word + " "
        at += len(word) + 1
