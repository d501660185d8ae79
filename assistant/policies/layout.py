"""How released sentences stand together: spaces, list markers in order, code blocks, citations' places.

It owns the text between sentences, so that what is left out leaves no trace; it judges no content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKER = re.compile(r"((\d{1,3})([.)])|\(([a-z])\)|[-*•+])\s+")
_CLOSING = re.compile(r"\s*([.!?…:;]*[.!?…:;][\"”’)*_]*|\|)$")
_FENCE = "```"


class Flow:
    """The text released so far, as far as its form goes."""

    def __init__(self, *, open: bool) -> None:
        """Start a text; nothing is released before it is `open`."""
        self.open = open
        self.item = 0
        self.at_line_start = True
        self.released_last = False
        self._code = ""
        self._held = ""
        self._gap = ""
        self._begun = False
        self._numbered = 0

    def gathered(self, raw: str) -> str | None:
        """Return what is to be checked as one: a sentence, or a code block when it is complete."""
        if not self._code and not raw.lstrip().startswith(_FENCE):
            return raw
        self._code += raw
        if self._code.count(_FENCE) < 2:
            return None
        block, self._code = self._code, ""
        return block

    def rest(self) -> str:
        """Return a code block that was never closed, closed."""
        block, self._code = self._code, ""
        return f"{block.rstrip()}\n{_FENCE}" if block else ""

    def add(self, marker: str, text: str, space: str, *, supported: bool) -> str:
        """Add a checked sentence and the white space behind it; return what may be released now."""
        match = _MARKER.fullmatch(f"{marker} ") if marker else None
        if match and (match[2] or match[4]):
            self.item = int(match[2]) if match[2] else ord(match[4]) - 96
        if text or space:
            self.at_line_start = "\n" in space
            self.released_last = bool(text)
        if text:
            self._held += self._space(text) + self._in_order(match) + _single_spaced(text)
            self._gap, self._begun = space, True
        elif space.count("\n") >= self._gap.count("\n"):
            self._gap = space
        self.open = self.open or supported
        if not self.open:
            return ""
        released, self._held = self._held, ""
        return released

    def below(self, text: str) -> str:
        """Add a paragraph at the end."""
        paragraph = f"\n\n{text}" if self._begun else text
        self._begun = True
        return paragraph

    def _space(self, text: str) -> str:
        if not self._begun:
            return ""
        lines = self._gap.count("\n")
        if text.startswith(_FENCE) and not lines:
            return "\n"
        return "\n" * min(lines, 2) + self._gap.rpartition("\n")[2] if lines else " "

    def _in_order(self, match: re.Match[str] | None) -> str:
        """Return the marker of a list's item, numbered after the last one that was released."""
        if match is None:
            return ""
        if not (match[2] or match[4]):
            return f"{match[1]} "
        first = (match[2] or match[4]) in ("1", "a")
        self._numbered = 1 if first else self._numbered + 1
        return f"{self._numbered}{match[3]} " if match[2] else f"({chr(96 + self._numbered)}) "


def split_marker(text: str, last: int) -> tuple[str, str]:
    """Split a list item's marker from its text, a line's begin; `last` is the number of the item before.

    A number out of order is no marker: it may be what the sentence says.
    """
    match = _MARKER.match(text)
    if match is None:
        return "", text
    number = int(match[2]) if match[2] else ord(match[4]) - 96 if match[4] else 0
    if number not in (0, 1, last + 1):
        return "", text
    return match[1], text[match.end() :]


def is_rule(text: str) -> bool:
    """Whether a line without words is a table's or a section's rule."""
    return re.fullmatch(r"\|?[|:\s-]*-{3}[|:\s-]*", text) is not None


def with_citations(text: str, numbers: Sequence[int]) -> str:
    """Put citations before a sentence's closing mark, or at its end; below a code block."""
    if not numbers:
        return text
    marks = "".join(f"[{number}]" for number in numbers)
    if text.endswith(_FENCE):
        return f"{text}\n{marks}"
    closing = _CLOSING.search(text)
    if closing is None:
        return f"{text.rstrip()} {marks}"
    space = " " if closing[1] == "|" else ""
    return f"{text[: closing.start()]} {marks}{space}{closing[1]}"


def _single_spaced(text: str) -> str:
    return text if "`" in text or "|" in text else re.sub(r"(?<=\S)[ \t]{2,}(?=\S)", " ", text)
