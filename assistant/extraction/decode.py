"""Bytes as text, and what an HTML page or a file's name says of itself.

It owns the choice of a character set and refuses binary content under a text file's name.
"""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser
from pathlib import PurePosixPath

from assistant.errors import IngestError
from assistant.extraction.language import language_of

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = (*range(9), *range(14, 27), *range(28, 32))
_DECLARED = re.compile(
    rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE
)
_CENTRAL = {"pl", "cs", "sk", "hu", "sl", "hr", "ro"}
_BY_LANGUAGE = {"tr": "cp1254", "lt": "cp1257", "lv": "cp1257", "et": "cp1257"}
_OTHER_SCRIPTS = [
    "cp1251",
    "koi8_r",
    "cp1253",
    "cp1255",
    "cp1256",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
    "cp874",
]


def decode(data: bytes) -> str:
    """Decode text: by its byte order mark or its zeros, by what it declares, as UTF-8, else by a guess.

    Raises:
        IngestError: it is not text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if wide := _wide(data[:4096]):
        return data.decode(wide, errors="replace")
    if sum(data.count(number) for number in _CONTROLS) > max(4, len(data) // 100):
        raise IngestError("It is binary content under a text file's name.", remedy="Correct its extension.")
    declared = _DECLARED.search(data[:1024])
    return decode_as(data, declared.group(1).decode() if declared else None)


def decode_as(data: bytes, charset: str | None) -> str:
    """Decode text whose header names a character set, or None; as UTF-8 where it is that: headers lie."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        if charset and charset.lower().replace("_", "-") not in ("utf-8", "utf8", "us-ascii", "ascii"):
            name = "cp1252" if charset.lower() in ("iso-8859-1", "latin1", "latin-1") else charset
            return data.decode(name, errors="replace")  # as browsers read Latin-1 (WHATWG Encoding 4.2)
    except (LookupError, ValueError):
        pass
    return data.decode(_guess(data[:20_000]), errors="replace")


def _wide(head: bytes) -> str | None:
    """Return UTF-16's byte order where every other byte of Western text is zero."""
    pairs = len(head) // 2
    if pairs < 2:
        return None
    first, second = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if second > 0.7 * pairs and first < 0.05 * pairs:
        return "utf-16-le"
    return "utf-16-be" if first > 0.7 * pairs and second < 0.05 * pairs else None


def _guess(data: bytes) -> str:
    """Return the code page of text that is no UTF-8: by its script, else by its language."""
    high = sum(byte > 127 for byte in data)
    if high * 10 > len(data) * 3:
        from charset_normalizer import from_bytes

        best = from_bytes(data, cp_isolation=_OTHER_SCRIPTS).best()
        return best.encoding if best else "cp1252"
    language = language_of(data.decode("cp1252", errors="replace"))
    if language in _CENTRAL:
        polish = language == "pl" and 0xB9 in data  # ą in the one, š in the other
        return "cp1250" if polish or any(0x80 <= byte < 0xA0 for byte in data) else "iso8859_2"
    return _BY_LANGUAGE.get(language or "", "cp1252")


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
