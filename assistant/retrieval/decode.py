"""Bytes as text, and what an HTML page or a file's name says of itself.

It owns the choice of an encoding and refuses binary content under a text file's name.
"""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser
from pathlib import PurePosixPath

from assistant.errors import IngestError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = (*range(9), *range(14, 27), *range(28, 32))


def decode(data: bytes) -> str:
    """Decode text: by its byte order mark, else as UTF-8, else as Windows-1252.

    Raises:
        IngestError: it is not text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if sum(data.count(number) for number in _CONTROLS) > len(data) // 100:
        raise IngestError("It is binary content under a text file's name.", remedy="Correct its extension.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def spoken(uri: str) -> str:
    """Return a file's name as words, for a document that has no title."""
    words = re.sub(r"[-_]+", " ", PurePosixPath(uri).stem).strip()
    return words[:1].upper() + words[1:] if words else uri


def read_head(text: str) -> Head:
    """Return what the head of an HTML page says."""
    head = Head()
    head.feed(text[:100_000])
    return head


class Head(HTMLParser):
    """Title, language and named meta values of a page; stops listening where the body begins."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.language = ""
        self.said: dict[str, str] = {}
        self._in_title = False
        self._done = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note `html lang`, `meta name content`, and where title and body begin."""
        values = {key: value or "" for key, value in attrs}
        self._in_title = tag == "title" and not self._done
        self._done = self._done or tag in ("body", "h1", "p", "div")
        if tag == "html":
            self.language = values.get("lang", "")
        elif tag == "meta" and not self._done and values.get("name"):
            self.said[values["name"].lower()] = values.get("content", "").strip()

    def handle_endtag(self, tag: str) -> None:
        """Note where the title ends."""
        self._in_title = self._in_title and tag != "title"

    def handle_data(self, data: str) -> None:
        """Collect the title."""
        if self._in_title:
            self.title = f"{self.title}{data}".strip()
