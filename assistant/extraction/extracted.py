"""The text of a document as every later step sees it, and the builder that keeps its offsets exact.

It owns cleaning (what is stored is NFC, without control characters) and the joining of blocks; it
refuses to know any file format.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["heading", "paragraph", "list", "table", "code"]

_UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\u200b\ufeff\ud800-\udfff]")
_SPACES = re.compile("[\u00a0\u2007\u202f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A structural piece of the text; offsets in characters. Table rows and list items are lines."""

    kind: Kind
    start: int
    end: int
    level: int = 0
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSpan:
    """The characters of one page, which is numbered from 1."""

    page: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file that stood inside another: in an archive, a mail archive, or attached to a mail.

    Args:
        uri: its path inside; unique among the members of one file.
        extracted: its text and structure, without members of its own: nested ones are flattened.
        reason: why it could not be read, where `extracted` is None.
    """

    uri: str
    extracted: Extracted | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """A document's text with its structure. `supersedes` is as written in the document.

    Args:
        language: two-letter code (ISO 639-1), None where it could not be told.
        members: files that stood inside this one; its own text may be empty then.
        notices: what a reader must know that the text does not show, as "pages 3-7 hold no text: …".
    """

    text: str
    title: str
    media_type: str
    blocks: tuple[Block, ...] = ()
    pages: tuple[PageSpan, ...] = ()
    dated: str | None = None
    supersedes: str | None = None
    language: str | None = None
    members: tuple[Member, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Builder:
    """Collects blocks in reading order and what the document says of itself."""

    title: str | None = None
    dated: str | None = None
    supersedes: str | None = None
    language: str | None = None
    notices: list[str] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _blocks: list[Block] = field(default_factory=list)
    _length: int = 0

    def add(self, kind: Kind, text: str, *, level: int = 0, page: int | None = None) -> None:
        """Append a block; an empty one is left out."""
        text = clean(text)
        if not text.strip():
            return
        separator = "\n\n" if self._parts else ""
        start = self._length + len(separator)
        self._parts.append(separator + text)
        self._length = start + len(text)
        self._blocks.append(Block(kind=kind, start=start, end=self._length, level=level, page=page))

    def notice(self, said: str | None) -> None:
        """Keep what a reader must know that the text does not show; nothing if there is nothing."""
        if said:
            self.notices.append(said)

    def first_heading(self, within: int = 3) -> str | None:
        """Return the heading among the first blocks, if there is one."""
        text = "".join(self._parts)
        for block in self._blocks[:within]:
            if block.kind == "heading":
                return text[block.start : block.end]
        return None

    def first_line(self, longest: int = 100) -> str | None:
        """Return the first line of all, if it is short enough for a title."""
        line = self._parts[0].split("\n")[0].strip() if self._parts else ""
        return line if 0 < len(line) <= longest else None

    def build(self, *, title: str, media_type: str) -> Extracted:
        """Return the whole; `title` stands in when the document named none."""
        return Extracted(
            text="".join(self._parts),
            title=" ".join(clean(self.title or title).split()),
            media_type=media_type,
            blocks=tuple(self._blocks),
            pages=_pages(self._blocks),
            dated=self.dated,
            supersedes=self.supersedes,
            language=self.language,
            notices=tuple(self.notices),
        )


def clean(text: str) -> str:
    """Return `text` in NFC, with plain spaces and line ends, without controls or outer blank lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _SPACES.sub(" ", _UNWANTED.sub("", text))
    lines = (line.rstrip() for line in unicodedata.normalize("NFC", text).split("\n"))
    return "\n".join(lines).strip("\n")


def _pages(blocks: list[Block]) -> tuple[PageSpan, ...]:
    """Return one span a page, from its first block to its last."""
    spans: dict[int, tuple[int, int]] = {}
    for block in blocks:
        if block.page is not None:
            start, _ = spans.get(block.page, (block.start, block.end))
            spans[block.page] = (start, block.end)
    return tuple(PageSpan(page=page, start=start, end=end) for page, (start, end) in sorted(spans.items()))
