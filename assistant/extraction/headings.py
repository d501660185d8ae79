"""Headings that no markup names: short lines in bold or capitals above text, numbered lines of plain text.

It owns what is certain enough to place everything below it, in any language: what follows has to be text.
It takes the title from what a layout analysis mistook for one as well. It refuses to drop a word: what is
no heading is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Node = Mapping[str, Any]
_LONGEST, _SHORT = 120, 90  # characters of a heading, and of one made here
_BULLETS = "·•▪–-"
_BODY = 60  # characters of a text that a heading may stand above, where it ends no sentence
_DEEPEST = 6
_WORD = re.compile(r"[^\W\d_]{2,}")
_SENTENCE_END = (".", ":", "!", "?", ";", "。", "！", "？")
_STOP = (".", ",", ";", "。", "，", "；")
_LABELLED = re.compile(r"[^:]*[^\W\d_]: \S")  # "Last updated: May", but not "Section 2: Conduct"
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2})*)\.?\s+\S")
_UNDERLINED = re.compile(r"([^\n]+)\n(?:={3,}|(-{3,}))")
_FEW_WORDS, _FEW_LETTERS = 6, 4


def with_headings(nodes: Sequence[Node], *, guessed: bool) -> list[Node]:
    """Return the nodes with what is certainly a heading as one, and with what is certainly none as text.

    Args:
        guessed: the headings among the nodes are told by their look, not by the writer.
    """
    told: list[Node] = []
    numbers: dict[str, int] = {}  # levels
    level, capitals, given = 0, 0, 0  # of the last heading with markup, of that in capitals, of one made here
    for at, node in enumerate(nodes):
        kind, text = _kind(node), _flat(node)
        if kind == "heading" and (not guessed or (_is_heading(text) and not _announces(text))):
            level = int(node["content"].get("level") or 1)
            if guessed and (number := _NUMBERED.match(text)):
                level = _nested(numbers, number.group(1), level)
                node = _as(node, "heading", level=level)
            if not (text.isupper() and level == given):
                capitals = level if text.isupper() else capitals if capitals < level else 0
        elif kind == "heading":
            node = _as(node, "paragraph")
        elif kind in ("paragraph", "list_item") and _stands_out(node, text) and _above_text(nodes, at):
            above = capitals if text.isupper() and capitals else level
            given = min(above + 1, _DEEPEST)
            node = _as(node, "heading", level=given, item=kind == "list_item")
        told.append(node)
    return told


def plain_headings(paragraphs: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs of a plain text, each with its level as a heading; 0 if it is none."""
    for at, paragraph in enumerate(paragraphs):
        following = paragraphs[at + 1] if at + 1 < len(paragraphs) else ""
        if underlined := _UNDERLINED.fullmatch(paragraph.strip()):
            yield 2 if underlined.group(2) else 1, underlined.group(1)
        elif "\n" in paragraph.strip() or not _is_text(following) or not _may_head(paragraph.strip()):
            yield 0, paragraph
        elif numbered := _NUMBERED.match(paragraph.strip()):
            alike = _NUMBERED.match(following)
            yield 0 if alike else min(numbered.group(1).count(".") + 2, _DEEPEST), paragraph
        else:
            yield int(_in_capitals(paragraph)), paragraph


def _stands_out(node: Node, text: str) -> bool:
    if "\n" in str(node["content"].get("text") or "").strip() or not _may_head(text) or text.endswith(_STOP):
        return False
    marks = [mark for mark in node.get("annotations") or () if "bold" in str(mark.get("kind"))]
    bold = sum(mark["end"] - mark["start"] for mark in marks) * 10 >= len(text) * 9
    return bold or _in_capitals(text)


def _above_text(nodes: Sequence[Node], at: int) -> bool:
    """Whether the next node that holds text is one that a heading may stand above."""
    following = next((node for node in nodes[at + 1 : at + 6] if _flat(node)), None)
    if following is None or _kind(following) not in ("paragraph", "list_item"):
        return False
    return _is_text(str(following["content"]["text"])) and not _stands_out(following, _flat(following))


def _in_capitals(text: str) -> bool:
    return text.isupper() and sum(map(str.isalpha, text)) >= _FEW_LETTERS


def _is_text(paragraph: str) -> bool:
    return len(paragraph) > _BODY or paragraph.rstrip().endswith(_SENTENCE_END)


def _may_head(text: str) -> bool:
    return len(text) <= _SHORT and not _LABELLED.match(text) and text[:1].isalnum() and _is_heading(text)


def _is_heading(text: str) -> bool:
    """Whether this is not certainly something else: a number, the rest of a line, a sentence."""
    sentence = text.endswith(_STOP) and (text[-1] not in ".。" or len(text.split()) >= _FEW_WORDS)
    begins = not text[:1].islower() and text[:1] not in _BULLETS
    return bool(_WORD.search(text)) and begins and not sentence and len(text) <= _LONGEST


def _nested(levels: dict[str, int], number: str, level: int) -> int:
    """Return the level of a numbered heading: below the one whose number begins its own, if that stood."""
    above = levels.get(number.rpartition(".")[0])
    levels[number] = level if above is None else min(above + 1, _DEEPEST)
    return levels[number]


def _announces(text: str) -> bool:
    return text.endswith(":") and len(text.split()) >= _FEW_WORDS


def _as(node: Node, kind: str, **more: object) -> Node:
    return {**node, "content": {**node["content"], "node_type": kind, **more}}


def _kind(node: Node) -> str:
    return str(node["content"]["node_type"])


def _flat(node: Node) -> str:
    return " ".join(str(node["content"].get("text") or "").split()) if _kind(node) != "group" else ""
