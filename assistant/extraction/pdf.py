"""Pages of a PDF whose structure lost words, put right from their plain text.

kreuzberg 4.10's document nodes leave out most of some pages (bordered boxes, forms: 207 of 210 words of
one in a public policy, seen 2026-11) and take some prose for tables; its plain page text does not. Every
page is compared, and one that lost words is read from its lines instead. It refuses to guess tables.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assistant.extraction.hyphens import Hyphens
from assistant.extraction.pdflines import rejoined

Node = Mapping[str, Any]
_WORD = re.compile(r"[^\W\d_]{3,}")
_HYPHEN = re.compile("[-\x02](?:\r?\n)?")
_SENTENCE_END = (".", ":", "!", "?", ";")


def complete(nodes: Sequence[Node], pages: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Return the nodes in reading order, those of lossy pages replaced by their plain lines."""
    texts = {int(page["page_number"]): str(page["content"]) for page in pages}
    own: dict[int, list[Node]] = {number: [] for number in texts}
    for node in nodes:
        own.setdefault(node.get("page") or 0, []).append(node)
    lossy = {number for number, text in texts.items() if _lost(text, own[number])}
    if not lossy:
        return list(nodes)
    hyphens = Hyphens(texts.values())
    sequence: list[Node] = []
    for number in sorted(texts):
        if number in lossy:
            headings = {_flat(_text(node)): node for node in own[number] if _is_heading(node)}
            sequence += _lines(texts[number], number, headings, hyphens)
        else:
            sequence += own[number]
    return sequence


def is_prose(rows: Sequence[Sequence[str]]) -> bool:
    """Whether what was taken for a table is running text: its column names begin in lower case."""
    names = next((row for row in rows if sum(map(bool, row)) > 1), ())
    starts = [name.strip()[0] for name in names[1:] if name.strip()]
    return bool(starts) and sum(start.islower() for start in starts) * 2 >= len(starts)


def _lost(text: str, nodes: Sequence[Node]) -> bool:
    have: Counter[str] = Counter()
    for node in nodes:
        have.update(_words(_text(node)))
    wanted = _words(text)
    missing = sum((Counter(wanted) - have).values())
    return missing > max(6, len(wanted) // 20)


def _words(text: str) -> list[str]:
    return _WORD.findall(_HYPHEN.sub("", text))


def _text(node: Node) -> str:
    content = node["content"]
    if content["node_type"] == "group":
        return ""
    cells = content.get("grid", {}).get("cells", ())
    return " ".join([str(content.get("text") or ""), *(str(cell["content"]) for cell in cells)])


def _is_heading(node: Node) -> bool:
    return bool(node["content"]["node_type"] == "heading")


def _flat(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str, page: int, headings: Mapping[str, Node], hyphens: Hyphens) -> Iterator[Node]:
    """Yield headings as they were, and paragraphs that end where a short line ends a sentence."""
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n")]
    width = max(map(len, lines), default=0)
    paragraph: list[str] = []
    for line in [*lines, ""]:
        heading = headings.get(_flat(line)) if line else None
        if (heading or not line) and paragraph:
            yield _paragraph(rejoined("\n".join(paragraph), width, hyphens), page)
            paragraph = []
        if heading:
            yield heading
        elif line:
            paragraph.append(line)
            if len(line) < width * 0.8 and line.endswith(_SENTENCE_END):
                yield _paragraph(rejoined("\n".join(paragraph), width, hyphens), page)
                paragraph = []


def _paragraph(text: str, page: int) -> Node:
    return {"content": {"node_type": "paragraph", "text": text}, "page": page}
