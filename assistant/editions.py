"""Editions of one document, told by their names: `policy-2023.pdf` beside `policy-2024.pdf`.

It owns what of a name and a title is a date or a version, and which of two is the later one. It refuses to
judge by a name alone that two are one document: whoever asks compares what they say as well.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATE = re.compile(
    rf"(?<!\d)(?:(?P<day>{_DAY})[-_. ](?P<month>{_MONTH})[-_. ](?P<year>{_YEAR})"
    rf"|(?P<y>{_YEAR})(?:(?P<dash>[-_. ]?)(?P<m>{_MONTH})(?:(?P=dash)(?P<d>{_DAY}))?)?)(?!\d)"
)
_VERSION = re.compile(
    r"(?<![^\W_])(?:v|ver|version|rev|revision|edition)[-_. ]{0,2}"
    r"(?P<number>\d{1,6}(?:\.\d{1,6})*)(?![^\W_])",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"[\W_]+")
_ISO = re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """Which edition of what: those of equal `series` are compared by `number`, which orders as text."""

    series: str
    number: str


def edition(uri: str, title: str, dated: str | None) -> Edition | None:
    """Tell the edition of a document by its path, its title and its date; None where nothing tells.

    A date in the file's name counts before `dated` (ISO 8601), and that before a version in the name. Same
    series: same folder, same name and title but for dates and versions, same extension.
    """
    folder, name = posixpath.split(uri)
    stem, extension = posixpath.splitext(name)
    date, version = _date(stem), _VERSION.search(stem)
    iso = _ISO.match(dated or "")
    if date or (iso and not version):
        kind, number = "date", date or (iso[0] if iso else "")
    elif version:
        kind, number = "version", ".".join(f"{int(part):06d}" for part in version["number"].split("."))
    else:
        return None
    series = "\n".join((kind, folder, _bare(stem), extension.lower(), _bare(title)))
    return Edition(series=series, number=number)


def later(one: str, other: str) -> bool:
    """Whether `one` is surely the later number: 2024-05 is after 2023, and may be before 2024."""
    return one > other and not (one.startswith(other) and "-" in one)


def asked_for(number: str, question: str) -> bool:
    """Whether a question names the year of an edition; a version is never asked for."""
    return bool(re.match(_YEAR, number)) and re.search(rf"(?<!\d){number[:4]}(?!\d)", question) is not None


def _date(stem: str) -> str | None:
    """Return the last date in a name: most names end in theirs."""
    found = [
        "-".join(
            filter(None, (each["y"] or each["year"], each["m"] or each["month"], each["d"] or each["day"]))
        )
        for each in _DATE.finditer(stem)
    ]
    return found[-1] if found else None


def _bare(words: str) -> str:
    """Return a name or title without dates and versions, its words parted by one space."""
    return _BETWEEN.sub(" ", _VERSION.sub(" ", _DATE.sub(" ", words))).strip().casefold()
