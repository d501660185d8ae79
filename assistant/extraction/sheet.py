"""Formulas of a workbook that no program has calculated: their cells are empty, and a reader must know.

It owns the count and the notice; it refuses to calculate.
"""

from __future__ import annotations

import io
import re
import zipfile

from assistant.extraction.broken import BROKEN

_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_UNCACHED = re.compile(rb"<f(?:\s[^<>]*)?(?:/>|>[^<]*</f>)(?:<v\s*/>|<v></v>)?</c>")
_STEP, _OVERLAP = 1 << 20, 16 << 10
_MOST_BYTES = 256 << 20


def uncalculated(data: bytes) -> str | None:
    """Return a notice if formulas have no stored value."""
    count = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if _SHEET.fullmatch(info.filename) and info.file_size <= _MOST_BYTES:
                    count += _count(archive, info)
    except BROKEN:
        return None  # the library says what is wrong with it
    if not count:
        return None
    cells = "1 cell holds a formula" if count == 1 else f"{count} cells hold formulas"
    return f"{cells} without a stored value, read as empty: open it once in its own program and save it."


def _count(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Count in pieces; a match that ends in a piece is counted there, whatever it began in."""
    count, held = 0, b""
    with archive.open(info) as file:
        while piece := file.read(_STEP):
            held += piece
            last = 0
            for match in _UNCACHED.finditer(held):
                count += 1
                last = match.end()
            held = held[max(last, len(held) - _OVERLAP) :]
    return count
