"""Word files whose `<`, `>` and `&` survive extraction.

kreuzberg 4.10 drops every character entity of a docx ("R&D < 5" becomes "RD  5", seen 2026-11). The
entities are put in as private-use characters before, and put right afterwards; nothing else is touched.
"""

from __future__ import annotations

import html
import io
import re
import zipfile

from assistant.errors import IngestError
from assistant.extraction.broken import BROKEN

_PART = re.compile(r"word/(document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml")
_ENTITY = re.compile(rb"&(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
_PLACEHOLDERS = {"<": "\ue0f0", ">": "\ue0f1", "&": "\ue0f2", '"': "\ue0f3", "'": "\ue0f4"}
_BACK = str.maketrans({held: character for character, held in _PLACEHOLDERS.items()})


def with_readable_entities(data: bytes) -> bytes:
    """Return the file with placeholders for character entities.

    Raises:
        IngestError: the file is no readable archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info.filename for info in archive.infolist()]
            parts = {name: archive.read(name) for name in names if _PART.fullmatch(name)}
            if not any(_ENTITY.search(part) for part in parts.values()):
                return data
            rest = {name: archive.read(name) for name in names if name not in parts}
    except BROKEN as error:
        raise IngestError(
            f"It is damaged or encrypted: {error}.", remedy="Open it in its own program and save it again."
        ) from error
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names:
            archive.writestr(name, _ENTITY.sub(_held, parts[name]) if name in parts else rest[name])
    return written.getvalue()


def without_placeholders(text: str) -> str:
    """Return `text` with the characters that the placeholders stand for."""
    return text.translate(_BACK)


def _held(match: re.Match[bytes]) -> bytes:
    character = html.unescape(match.group().decode())
    return _PLACEHOLDERS.get(character, character).encode(errors="ignore")
