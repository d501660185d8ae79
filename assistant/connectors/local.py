"""A folder of this machine as a tree of files.

It hands out no file from outside its root: links that leave it are refused, folders behind links are
not entered, pipes and devices are not opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from assistant.connectors.tree import Entry, inside, within
from assistant.errors import IngestError


class LocalTree:
    """A folder."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)

    def entries(self) -> Iterator[Entry]:
        """Yield every file below the root.

        Raises:
            IngestError: the root is missing, or a folder cannot be listed.
        """
        self._there()
        yield from self._below("")
        self._there()  # a root that went away meanwhile looks like folders that were deleted

    def _there(self) -> None:
        if not os.path.isdir(self._root):
            raise IngestError(
                f"The folder {self._root} does not exist.", remedy="Correct the connector's `url`."
            )

    def _below(self, folder: str) -> Iterator[Entry]:
        try:
            found = list(os.scandir(os.path.join(self._root, folder)))
        except FileNotFoundError:
            return
        except OSError as error:
            raise IngestError(
                f"The folder {folder or self._root} cannot be listed: {error.strerror}.",
                remedy="Correct its permissions; until then nothing of this source is changed.",
            ) from error
        for entry in found:
            uri = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    yield from self._below(uri)
            elif not entry.is_dir():  # a link to a folder is not entered
                yield from self._entry(uri, entry)

    def _entry(self, uri: str, entry: os.DirEntry[str]) -> Iterator[Entry]:
        try:
            found = entry.stat()
        except FileNotFoundError:  # gone since the listing, or a link to nothing
            return
        times = f"{found.st_mtime_ns}:{found.st_ctime_ns}"
        yield Entry(uri=uri, size_bytes=found.st_size, fingerprint=f"{found.st_size}:{times}")

    def read(self, uri: str, *, size_bytes: int, limit_bytes: int) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: it vanished.
            IngestError: it is too large, no plain file, outside the root, or cannot be read.
        """
        try:
            return self._read(uri, limit_bytes, exact=True)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise IngestError(f"It cannot be read: {error.strerror or error}.") from error

    def beginnings(self, entries: Sequence[Entry], size_bytes: int) -> Mapping[str, bytes]:
        """Return up to `size_bytes` of each file's beginning; those that cannot be read are left out."""
        found = {}
        for entry in entries:
            try:
                found[entry.uri] = self._read(entry.uri, size_bytes, exact=False)
            except (OSError, IngestError):
                continue
        return found

    def _read(self, uri: str, limit_bytes: int, *, exact: bool) -> bytes:
        inside(uri)
        real = os.path.realpath(os.path.join(self._root, uri))
        if not real.startswith(os.path.join(self._root, "")):
            raise IngestError("It is a link that leads out of the source's folder.", remedy="Copy the file.")
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise IngestError("It is not a plain file.")
            if not exact:
                return file.read(limit_bytes)
            within(found.st_size, limit_bytes)
            data = file.read(limit_bytes + 1)
            within(len(data), limit_bytes)
            return data
