"""How commands print: JSON for programs; tables and wrapped text for people, no colour anywhere.

It owns form only and prints to standard output; progress and errors go to standard error.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_WIDTH = 100


def width() -> int:
    """Columns to use: the terminal's, within reason."""
    return min(MAX_WIDTH, max(60, shutil.get_terminal_size((MAX_WIDTH, 24)).columns))


def print_json(value: object) -> None:
    """Print a value of ours as one JSON document."""
    print(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))


def _plain(value: object) -> object:
    """Turn what JSON does not know into what it does."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "item"):  # a numpy scalar
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _fields(value: DataclassInstance) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "none") -> None:
    """Print rows under headers, columns as wide as their widest cell; `empty` when there is no row."""
    if not rows:
        print(empty)
        return
    cells = [[*headers], *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    for row in cells:
        print("  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip())


def wrapped(text: str, *, indent: str = "", first: str | None = None) -> str:
    """Wrap a paragraph; `first` begins its first line instead of `indent`."""
    return textwrap.fill(
        " ".join(text.split()),
        width=width(),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


class Flow:
    """Prints text that comes in pieces, word-wrapped and indented, as soon as each word is whole."""

    def __init__(self, indent: str = "") -> None:
        self._indent = indent
        self._column = 0
        self._pending = ""

    def write(self, piece: str) -> None:
        """Print what is whole of the text so far; the last, perhaps unfinished, word waits."""
        *lines, last = (self._pending + piece).split("\n")
        for line in lines:
            self._words(line)
            self._newline()
        cut = last.rfind(" ") + 1
        self._words(last[:cut])
        self._pending = last[cut:]
        sys.stdout.flush()

    def finish(self) -> None:
        """Print what waits and end the line."""
        self._words(self._pending)
        self._pending = ""
        if self._column:
            self._newline()
        sys.stdout.flush()

    def _words(self, text: str) -> None:
        for word in text.split():
            if self._column and self._column + 1 + len(word) > width():
                self._newline()
            lead = " " if self._column else self._indent
            sys.stdout.write(lead + word)
            self._column += len(lead) + len(word)

    def _newline(self) -> None:
        sys.stdout.write("\n")
        self._column = 0
