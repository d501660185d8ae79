"""What stands on every page of a PDF: running headers, footers and page numbers, taken out of the text.

It owns what counts as one: the same line at the edge of most pages, or one in which only the page's number
differs. The first with words stays, as text, because it may say what nothing else does ("Confidential").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Node = Mapping[str, Any]
Page = Mapping[str, Any]
_EDGE = 2  # lines at the top and at the bottom of a page
_NEAR = 4  # texts of a page, from its top and from its bottom, that may hold them
_LEAST_PAGES = 4
_SHARE = 0.6  # of all pages, or of the left or the right ones
_NUMBER = re.compile(r"\d{1,6}")


class Running:
    """The running lines of the pages of one document."""

    def __init__(self, pages: Sequence[Page]) -> None:
        edges = {int(page["page_number"]): _edges(_lines(page)) for page in pages}
        found = Counter(
            (sign, side)
            for number, lines in edges.items()
            for sign in {sign for line in lines for sign in _signs(line, number)}
            for side in (number % 2, 2)
        )
        sizes = [*(sum(number % 2 == side for number in edges) for side in (0, 1)), len(edges)]
        often = {sign for (sign, side), n in found.items() if n >= max(_LEAST_PAGES, _SHARE * sizes[side])}
        self._lines: dict[int, list[str]] = {}
        self._first: dict[int, list[str]] = {}
        seen: set[str] = set()
        for number, lines in sorted(edges.items()):
            for line in lines:
                signs = often.intersection(_signs(line, number))
                if not signs:
                    continue
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
            kept = _without(text, left[page]) if at in near and left.get(page) else text
            if kept != text and not kept.strip():
                continue
            kind = content["node_type"]
            if kind == "heading" and not _without(kept, list(self._first.get(page, ()))):
                kind = "paragraph"
            changed = kept != text or kind != content["node_type"]
            yield {**node, "content": {**content, "text": kept, "node_type": kind}} if changed else node


def _without(text: str, left: list[str]) -> str:
    """Return a text without the running lines with which it begins or ends; those are taken from `left`."""
    lines = text.split("\n")
    for edge in (0, -1):
        while lines:
            flat = " ".join(lines[edge].split())
            line = next((line for line in left if _begins(flat, line, edge)), None)
            if line is None:
                break
            left.remove(line)
            if rest := flat.removeprefix(line).strip():
                lines[edge] = rest
            else:
                lines.pop(edge)
    return "\n".join(lines)


def _begins(flat: str, line: str, edge: int) -> bool:
    return flat == line or (edge == 0 and _has_words(line) and flat.startswith(f"{line} "))


def _lines(page: Page) -> list[str]:
    return [" ".join(line.split()) for line in str(page["content"]).splitlines()]


def _edges(lines: Sequence[str]) -> list[str]:
    filled = [line for line in lines if line]
    return filled[:_EDGE] + filled[max(_EDGE, len(filled) - _EDGE) :]


def _signs(line: str, page: int) -> Iterator[str]:
    """Yield a line, and with each of its numbers told from the page's."""
    yield line
    for number in _NUMBER.finditer(line):
        yield f"{line[: number.start()]}#{int(number.group()) - page}{line[number.end() :]}"


def _has_words(line: str) -> bool:
    return any(map(str.isalpha, line))
