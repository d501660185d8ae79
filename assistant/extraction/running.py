"""What stands on every page of a PDF: running headers, footers and page numbers, taken out of the text.

It owns what counts as one: the same line at the edge of most pages, or one in which only the page's number
differs. The first with words stays, as text, because it may say what nothing else does ("Confidential").
It refuses to drop what may be the number of a clause ("Rule 3" on page 3): headings above text, and "§ 3".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from assistant.extraction.headings import with_headings
from assistant.extraction.pdflines import begin

Node = Mapping[str, Any]
Page = Mapping[str, Any]
_EDGE = 2  # lines at the top and at the bottom of a page
_NEAR = 4  # texts of a page, from its top and from its bottom, that may hold them
_LEAST_PAGES = 4
_SHARE = 0.6  # of all pages, or of the left or the right ones
_LONGEST = 200  # characters
_NUMBER = re.compile(r"\d{1,6}")
_BARE = re.compile(r"[\d\s\-–—|/·•~*\[\]]+")  # a page's number and no words


class Running:
    """The running lines of the pages of one document.

    Args:
        nodes: what the layout analysis made of them: it knows headings.
    """

    def __init__(self, pages: Sequence[Page], nodes: Sequence[Node] = ()) -> None:
        enough = pages if len(pages) >= _LEAST_PAGES else ()
        texts = {int(page["page_number"]): list(filter(None, _lines(page))) for page in enough}
        often = _often(texts)
        often -= _clauses(texts, often, nodes)
        self._lines: dict[int, list[str]] = {}
        self._first: dict[int, list[str]] = {}
        self._below: dict[tuple[int, str], str] = {}
        seen: set[str] = set()
        for number, lines in sorted(texts.items()):
            for at in _edges(lines):
                line = lines[at]
                signs = often.intersection(_signs(line, number))
                if not signs:
                    continue
                self._below.setdefault((number, line), "".join(lines[at + 1 : at + 2]))
                if _has_words(line) and not signs & seen:
                    self._first.setdefault(number, []).append(line)
                else:
                    self._lines.setdefault(number, []).append(line)
                seen |= signs

    def page(self, page: Page) -> Page:
        """Return a page without its running lines."""
        left = list(self._lines.get(int(page["page_number"]), ()))
        if not left:
            return page
        lines = _lines(page)
        at = [at for at, line in enumerate(lines) if line]
        for place in {*at[:_EDGE], *at[-_EDGE:]}:
            if lines[place] in left:
                left.remove(lines[place])
                lines[place] = ""
        return {**page, "content": "\n".join(lines)}

    def nodes(self, nodes: Sequence[Node]) -> Iterator[Node]:
        """Yield the nodes without running lines; the first of each is no heading."""
        places: dict[int, list[int]] = {}
        for at, node in enumerate(nodes):
            if node["content"]["node_type"] != "group" and node["content"].get("text"):
                places.setdefault(int(node.get("page") or 0), []).append(at)
        near = {at for page in places.values() for at in (*page[:_NEAR], *page[-_NEAR:])}
        left = {number: list(lines) for number, lines in self._lines.items()}
        for at, node in enumerate(nodes):
            page, content = int(node.get("page") or 0), node["content"]
            text = str(content.get("text") or "")
            kept = self._without(page, text, left[page]) if at in near and left.get(page) else text
            if kept != text and not kept.strip():
                continue
            kind = content["node_type"]
            if kind == "heading" and not self._without(page, kept, [*self._first.get(page, ())]):
                kind = "paragraph"
            changed = kept != text or kind != content["node_type"]
            yield {**node, "content": {**content, "text": kept, "node_type": kind}} if changed else node

    def _without(self, page: int, text: str, left: list[str]) -> str:
        """Return a text without the running lines at its edges; those are taken from `left`."""
        lines = text.split("\n")
        for edge in (0, -1):
            while lines:
                flat = " ".join(lines[edge].split())
                line = next((line for line in left if self._stands(page, flat, line, edge)), None)
                if line is None:
                    break
                left.remove(line)
                if rest := flat.removeprefix(line).strip():
                    lines[edge] = rest
                else:
                    lines.pop(edge)
        return "\n".join(lines)

    def _stands(self, page: int, flat: str, line: str, edge: int) -> bool:
        """Whether a line of a node is a running line, or begins with one that is a line on its page."""
        if edge or flat == line or not _has_words(line) or not flat.startswith(f"{line} "):
            return flat == line
        rest, below = begin(flat.removeprefix(line)), begin(self._below[page, line])
        return bool(below) and (rest.startswith(below) or below.startswith(rest))


def _often(texts: Mapping[int, Sequence[str]]) -> set[str]:
    """Return the signs of lines that stand at the edge of most pages, or of most left or right ones."""
    found = Counter(
        (sign, side)
        for number, lines in texts.items()
        for sign in {sign for at in _edges(lines) for sign in _signs(lines[at], number)}
        for side in (number % 2, 2)
    )
    sizes = [*(sum(number % 2 == side for number in texts) for side in (0, 1)), len(texts)]
    return {sign for (sign, side), n in found.items() if n >= max(_LEAST_PAGES, _SHARE * sizes[side])}


def _clauses(texts: Mapping[int, Sequence[str]], often: set[str], nodes: Sequence[Node]) -> set[str]:
    """Return those signs, with a number, of which one is a heading on its page and not at its foot."""
    headings: dict[int, list[str]] = {}
    for node in (*nodes, *with_headings(nodes, guessed=True)):
        if node["content"]["node_type"] == "heading":
            text = " ".join(str(node["content"].get("text") or "").split())
            headings.setdefault(int(node.get("page") or 0), []).append(f" {text} ")
    found: set[str] = set()
    for number, lines in texts.items():
        running = {at for at in _edges(lines) if often.intersection(_signs(lines[at], number))}
        for at in running:
            line = lines[at]
            is_heading = any(f" {line} " in heading for heading in headings.get(number, ()))
            above, below = running.issuperset(range(at)), running.issuperset(range(at + 1, len(lines)))
            if is_heading and (above or not below) and not _counts(line, number, max(texts)):
                found.update(sign for sign in _signs(line, number) if sign != line)
    return found


def _counts(line: str, page: int, last: int) -> bool:
    """Whether a line is certainly a page's number: alone, or with that of the last page ("Page 3 of 8")."""
    numbers = [int(number) for number in _NUMBER.findall(line)]
    return bool(_BARE.fullmatch(line)) or any(b - a == last - page for a, b in combinations(numbers, 2))


def _lines(page: Page) -> list[str]:
    return [" ".join(line.split()) for line in str(page["content"]).splitlines()]


def _edges(lines: Sequence[str]) -> list[int]:
    """Return the places of the lines at the edges of a page, given those that hold text."""
    at = range(len(lines))
    return [*at[:_EDGE], *at[max(_EDGE, len(at) - _EDGE) :]]


def _signs(line: str, page: int) -> Iterator[str]:
    """Yield a line, and with each of its numbers told from the page's."""
    if len(line) > _LONGEST:
        return
    yield line
    if _has_words(line) or _BARE.fullmatch(line):
        for number in _NUMBER.finditer(line):
            yield f"{line[: number.start()]}#{int(number.group()) - page}{line[number.end() :]}"


def _has_words(line: str) -> bool:
    return any(map(str.isalpha, line))
