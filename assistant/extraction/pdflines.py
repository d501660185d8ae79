"""Lines of a PDF put together again: paragraphs, the numbers of clauses, spaces and hyphens.

kreuzberg 4.10's document nodes keep the line ends of the page and lose what stands at their borders; the
plain text of the page has it. It owns these repairs; it refuses to change any other character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from assistant.extraction.hyphens import BREAK, Hyphens

Pages = Sequence[Mapping[str, Any]]
_ITEM_START = re.compile(r"(?:\d{1,2}[.)]|[•▪–])\s")
_NUMBERED = re.compile(r"^[ \t]*((?:\d{1,3}\.)*\d{1,3}[.)]?|\(?[a-z]{1,4}[.)])\s+(\S.*)$", re.MULTILINE)
_QUOTES = str.maketrans("‘’“”", "''\"\"")  # as the nodes have them
_BEGIN = 24  # characters by which a list item is found in its page
_NOT_SPACE = re.compile(r"\S+")
_LINE_END = re.compile(r"(?<=\w)[-\u2010\u00ad]$")


class Mender:
    """What is put right in each text of a PDF; `width` is the length of a full line, in characters."""

    def __init__(self, pages: Pages, width: int) -> None:
        self._markers = Markers(pages)
        self._hyphens = Hyphens(str(page["content"]) for page in pages)
        self._spaces = Spaces(pages, self._hyphens)
        self._width = width

    def mended(self, node: Mapping[str, Any], text: str) -> tuple[str, str]:
        """Return a node's text, and the number before it if it is a list item."""
        page = node.get("page")
        text = self._spaces.restore(page, text)
        is_item = node["content"]["node_type"] == "list_item" or node["content"].get("item")
        marker = self._markers.take(page, text) if is_item else ""
        return self._spaces.restore(page, rejoined(text, self._width, self._hyphens)), marker


class Markers:
    """The numbers that begin lines of the pages, of which the nodes of list items leave out the first part.

    "4.1 We recognise" comes out as "1 We recognise", "(b) Staff" as "Staff": clauses could not be cited.
    """

    def __init__(self, pages: Pages) -> None:
        self._found: dict[tuple[int, str], list[str]] = {}
        for page in pages:
            number = int(page["page_number"])
            for marker, rest in _NUMBERED.findall(str(page["content"]).replace("\r", "")):
                first, dot, others = marker.partition(".")
                self._found.setdefault((number, begin(rest)), []).append(f"{marker} ")
                if others:
                    self._found.setdefault((number, begin(others + rest)), []).append(first + dot)

    def take(self, page: int | None, text: str) -> str:
        """Return what stands before a text on its page, each once and in order; nothing if nothing does."""
        found = self._found.get((page or 0, begin(text)))
        return found.pop(0) if found else ""


class Spaces:
    """The spaces and hyphens that are lost where lines or fonts meet ("accuracyof", "highrisk")."""

    def __init__(self, pages: Pages, hyphens: Hyphens) -> None:
        self._words = {int(page["page_number"]): str(page["content"]).split() for page in pages}
        self._known = {word for words in self._words.values() for word in words}
        self._hyphens = hyphens
        self._page: int | None = None
        self._pairs: dict[str, str] = {}

    def restore(self, page: int | None, text: str) -> str:
        """Return a text with two words where no page has them as one, but this page in a row.

        A word that was broken at the end of a line is put together as the document writes it.
        """
        if all(word in self._known and BREAK not in word for word in text.split()):
            return text
        if page != self._page:
            self._page = page
            self._pairs = dict(self._row(self._words.get(page or 0, ())))
        return _NOT_SPACE.sub(self._split, text)

    def _row(self, words: Sequence[str]) -> Iterator[tuple[str, str]]:
        for one, two in pairwise(words):
            if one.endswith("-"):
                yield one[:-1] + two, self._hyphens.joined(one[:-1], two)
            else:
                yield one + two, f"{one} {two}"
        for word in words:
            if BREAK in word:
                yield word.translate(_QUOTES).replace(BREAK, ""), self._hyphens.whole(word.translate(_QUOTES))

    def _split(self, match: re.Match[str]) -> str:
        word = match.group()
        if BREAK in word:
            return self._hyphens.whole(word)
        return word if word in self._known else self._pairs.get(word, word)


def rejoined(text: str, width: int, hyphens: Hyphens | None = None) -> str:
    """Join the lines of a paragraph where the line before was full; keep the short ones apart.

    Rows of tables that came out flat stay on lines of their own this way.

    Args:
        hyphens: how the document writes its words, if more of it is known than this text.
    """
    hyphens = hyphens or Hyphens([text])
    parts: list[str] = []
    for line in re.split(r"\r?\n", text):
        if not parts:
            parts = [line] if line else []
        elif len(parts[-1]) >= width * 0.7 and not _ITEM_START.match(line):
            parts += _continued(parts.pop(), line, hyphens)
        else:
            parts += ["\n", line]
    return "".join(parts)


def _continued(line: str, following: str, hyphens: Hyphens) -> tuple[str, str, str]:
    """Return a line, what stands between, and the next one, which may begin with the rest of a word."""
    if not _LINE_END.search(line[-2:]) or not following[:1].isalpha():
        return line, " ", following
    return line[:-1], "" if line.endswith("\u00ad") else hyphens.between(line[:-1], following), following


def begin(text: str) -> str:
    """Return the first characters of a text, without spaces, by which it is found in its page."""
    return "".join(text[: 3 * _BEGIN].translate(_QUOTES).split())[:_BEGIN]
