"""Extractor plug-ins: what reads a kind of file that this project does not, or not well enough.

A plug-in is an entry point of the group `assistant.extractors` whose object, or whose call, is a `Reader`.
It is loaded only when configuration names it for an extension, or when it is named after an extension that
is not read otherwise (`png`, `dwg`). It runs inside the worker process, under the same limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from assistant.errors import IngestError
from assistant.extraction.archive import Content
from assistant.extraction.extracted import Extracted
from assistant.extraction.kinds import MEDIA_TYPES, extension

GROUP = "assistant.extractors"


@runtime_checkable
class Reader(Protocol):
    """Takes files of one or more kinds apart."""

    def read(self, data: bytes, uri: str) -> Extracted:
        """Return the text and structure of a file; `extracted.Builder` keeps offsets exact.

        Raises:
            IngestError: it cannot be read, with the reason.
        """
        ...


def by_extension(named: Mapping[str, str]) -> dict[str, str]:
    """Return plug-ins by extension as `kinds.extension` gives it: `{".PDF": …}` names them as well."""
    return {suffix.lower().lstrip("."): name for suffix, name in named.items()}


def names() -> set[str]:
    """Return the names of the plug-ins that are installed."""
    return {point.name for point in entry_points(group=GROUP)}


def missing(named: Mapping[str, str]) -> dict[str, str]:
    """Return those of the named plug-ins, by extension, that are not installed."""
    installed = names()
    return {suffix: name for suffix, name in named.items() if name not in installed}


class Readers:
    """The plug-ins of one worker process.

    Args:
        named: entry point by extension, as `{"pdf": "ocr"}`; overrules what is built in.
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        self._named = by_extension(named)
        self._loaded: dict[str, Reader] = {}

    def read(self, data: bytes, uri: str) -> tuple[Extracted, Iterator[Content]] | None:
        """Return what a plug-in makes of a file; None if none is named for it.

        Raises:
            IngestError: the plug-in is missing, is none, or cannot read the file.
        """
        suffix = extension(uri)
        name = self._named.get(suffix)
        if name is None and (
            suffix in MEDIA_TYPES or not suffix or not entry_points(group=GROUP, name=suffix)
        ):
            return None
        extracted = self._reader(name or suffix).read(data, uri)
        if not isinstance(extracted, Extracted):
            raise IngestError(f"The extractor plug-in {name or suffix!r} returned no Extracted.")
        return extracted, iter(())

    def _reader(self, name: str) -> Reader:
        if name not in self._loaded:
            found = next(iter(entry_points(group=GROUP, name=name)), None)
            if found is None:
                known = ", ".join(sorted(names())) or "none"
                raise IngestError(
                    f"There is no extractor plug-in {name!r}.", remedy=f"Install it; there are: {known}."
                )
            made = found.load()
            reader = made() if isinstance(made, type) else made
            if not isinstance(reader, Reader):
                raise IngestError(f"The extractor plug-in {name!r} has no method read(data, uri).")
            self._loaded[name] = reader
        return self._loaded[name]
