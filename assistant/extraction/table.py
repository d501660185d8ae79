"""Tables as lines that a small model can copy from: the column's name stands beside each value.

`Country: Norway | Per diem EUR: 92` keeps its meaning in any chunk, whole or alone. It owns the guess
which row is the header when a format does not say; it refuses to touch values.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from assistant.extraction.extracted import Builder

_NUMBER = re.compile(r"[-+]?[\d.,' ]*\d[\d.,' ]*\s?%?")
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00:00$")
Row = Sequence[str]


def add_table(
    builder: Builder, rows: Sequence[Row], *, explicit_header: bool, page: int | None = None
) -> None:
    """Append a table to `builder`: captions as paragraphs, each row as a line.

    Args:
        explicit_header: the format says that the first row is the header.
    """
    for part in _parts([[_value(cell) for cell in row] for row in rows]):
        first = next((at for at, row in enumerate(part) if _filled(row) > 1), 0)
        for row in part[:first]:
            builder.add("paragraph", next(cell for cell in row if cell), page=page)
        builder.add("table", "\n".join(_lines(part[first:], explicit_header)), page=page)


def _lines(part: list[list[str]], explicit_header: bool) -> list[str]:
    header, rows = (part[0], part[1:]) if len(part) > 1 else ([], part)
    if header and not explicit_header and not _is_header(header, rows):
        header, rows = [], part
    if header:
        return [_named(header, row) for row in rows]
    if max(map(_filled, part), default=0) == 2:
        return [": ".join(cell for cell in row if cell) for row in part]
    return [" | ".join(cell for cell in row if cell) for row in part]


def _named(header: Row, row: Row) -> str:
    names = [*header, *[""] * (len(row) - len(header))]
    return " | ".join(
        f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=False) if cell
    )


def _is_header(header: Row, rows: list[list[str]]) -> bool:
    """Guess whether a first row names the columns rather than being data of a list of pairs."""
    if any(_NUMBER.fullmatch(cell) for cell in header) or _filled(header) < 2:
        return False
    if max(map(_filled, rows)) > 2 or _filled(header) > 2:
        return True
    values = [row[-1] for row in rows if row and row[-1]]
    with_digits = sum(bool(re.search(r"\d", value)) for value in values)
    return bool(values) and not re.search(r"\d", header[-1]) and with_digits * 2 >= len(values)


def _parts(rows: list[list[str]]) -> list[list[list[str]]]:
    """Split a sheet at its empty rows, and drop its empty columns."""
    used = sorted({at for row in rows for at, cell in enumerate(row) if cell})
    parts: list[list[list[str]]] = [[]]
    for row in rows:
        if any(row):
            parts[-1].append([row[at] for at in used[: bisect_left(used, len(row))]])
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _filled(row: Row) -> int:
    return sum(bool(cell) for cell in row)


def _value(cell: str) -> str:
    return _MIDNIGHT.sub(r"\1", " ".join(cell.split()))
