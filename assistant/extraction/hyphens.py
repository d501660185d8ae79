"""Words that were broken at the end of a line: put together with their hyphen, or without.

It owns that choice and makes it by what the rest of the document writes, in whatever language: the form
that stands whole elsewhere, else whether its parts are words and whether this document breaks words at
all or only at hyphens that they have anyway. It refuses to look into any dictionary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise

BREAK = "\x02"  # pdfium's sign for a hyphen at the end of a line, and its line end
_LINE_END = re.compile(r"(?<=\w)[-\u2010]\r?\n[ \t]*(?=\w)")
_TOKEN = re.compile(r"\w+(?:[-\u2010\u2011]\w+)*")
_HYPHEN = re.compile(r"[-\u2010\u2011]")
_END, _START = re.compile(r"\w+$"), re.compile(r"\w+")
_LONG = 3  # letters; shorter ones begin many words ("in", "de") by chance
_LONGEST = 64  # letters of a word that are looked at: longer ones are no words


class Hyphens:
    """What a document, given as its pages or paragraphs, writes with a hyphen and what without."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._broken: list[tuple[str, str]] = []
        tokens: Counter[str] = Counter()
        for text in texts:
            words = _LINE_END.sub(BREAK, text).split()
            self._broken += [pair for word in words if BREAK in word for pair in pairwise(word.split(BREAK))]
            whole = " ".join(word for word in words if BREAK not in word)
            tokens.update(_TOKEN.findall(whole.casefold()))
        self._count: Counter[str] = Counter()
        for token, count in tokens.items():
            for form in _forms(token):
                self._count[form] += count

    def whole(self, word: str) -> str:
        """Return a word in which every `BREAK` is a hyphen or nothing."""
        first, *others = word.split(BREAK)
        parts, before = [first], first
        for other in others:
            parts += [self.between(before, other), other]
            before = "".join((before, *parts[-2:]))[-_LONGEST:]
        return "".join(parts)

    def joined(self, one: str, other: str) -> str:
        """Return the two parts of a broken word as one; what stands around the word may be with them."""
        return f"{one}{self.between(one, other)}{other}"

    def between(self, one: str, other: str) -> str:
        """Return the hyphen between the two parts of a broken word, or nothing."""
        end, start = _end(one), _START.match(other)
        return "-" if not end or not start or self._has_hyphen(end.group(), start.group()) else ""

    def _has_hyphen(self, one: str, other: str) -> bool:
        if not (one[-1].isalpha() and other[0].isalpha()) or (other[0].isupper() and not one.isupper()):
            return True  # no word is broken there
        seen = self._seen(one, other)
        if seen:
            return seen > 0
        known = [self._count[part.casefold()] > 0 for part in (one, other)]
        if all(known):
            return min(len(one), len(other)) >= _LONG or self._leaning >= 0
        return any(known) and self._leaning > 0

    def _seen(self, one: str, other: str) -> int:
        """Return how much more often the two parts stand elsewhere with a hyphen than without."""
        one, other = one.casefold(), other.casefold()
        return self._count[f"{one}-{other}"] - self._count[one + other]

    @cached_property
    def _leaning(self) -> int:
        """How many more of the broken words stand elsewhere with a hyphen than without."""
        found = 0
        for before, after in self._broken:
            end, start = _end(before), _START.match(after)
            seen = self._seen(end.group(), start.group()) if end and start else 0
            found += (seen > 0) - (seen < 0)
        return found


def _end(text: str) -> re.Match[str] | None:
    return _END.search(text[-_LONGEST:])


def _forms(word: str) -> Iterator[str]:
    """Yield the parts of a word, and each two that a hyphen joins."""
    parts = _HYPHEN.split(word)
    yield from parts
    yield from map("-".join, pairwise(parts))
