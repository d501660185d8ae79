"""Files of a folder, or of anything fsspec can list, as documents.

It owns listing, fingerprints and reading, and hands out no file from outside its root: links that leave
it are refused, names that begin with a dot are ignored (but for `.access.yaml`), and so are the lock
files of office programs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from assistant.connectors.base import Item
from assistant.connectors.config import FOLDER_FILE, FilesSource, FolderLabels, read_folder_labels
from assistant.connectors.labels import labels_of, matches
from assistant.errors import IngestError

_VERSION_KEYS = ("ETag", "etag", "version_id", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    uri: str
    size_bytes: int
    fingerprint: str


class Files:
    """The connector of kind `files`.

    Args:
        source: the connector's configuration.
        workspace: the folder that a relative `url` counts from.
        under: only this file or folder of the source.
    """

    def __init__(self, source: FilesSource, *, workspace: Path, under: str = "") -> None:
        self._source = source
        self._under = under.strip("/")
        remote = "://" in source.url and not source.url.startswith("file://")
        self._tree: _LocalTree | _RemoteTree
        if remote:
            self._tree = _RemoteTree(source.url, source.options)
        else:
            self._tree = _LocalTree(workspace / source.url.removeprefix("file://"))

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    def discover(self) -> Iterator[Item]:
        """Yield the files of the source in order of their paths.

        Raises:
            IngestError: the root is missing or cannot be listed.
            ConfigError: a `.access.yaml` is wrong.
        """
        entries = sorted(self._tree.entries(), key=lambda entry: entry.uri)
        folders = {
            str(PurePosixPath(entry.uri).parent).removeprefix("."): self._folder_labels(entry.uri)
            for entry in entries
            if PurePosixPath(entry.uri).name == FOLDER_FILE
        }
        for entry in entries:
            if self._is_document(entry.uri):
                yield Item(
                    uri=entry.uri,
                    fingerprint=entry.fingerprint,
                    size_bytes=entry.size_bytes,
                    labels=labels_of(entry.uri, source=self.name, rules=self._source, folders=folders),
                )

    def fetch(self, item: Item) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: it vanished.
            IngestError: it is a link out of the root, no plain file, or cannot be read.
        """
        try:
            return self._tree.read(item.uri)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise IngestError(f"It cannot be read: {error.strerror or error}.") from error

    def _is_document(self, uri: str) -> bool:
        name = PurePosixPath(uri).name
        if name.startswith((".", "~$")):
            return False
        if self._under and uri != self._under and not uri.startswith(f"{self._under}/"):
            return False
        return not any(matches(pattern, uri) for pattern in self._source.exclude)

    def _folder_labels(self, uri: str) -> FolderLabels:
        text = self._tree.read(uri).decode("utf-8", errors="replace")
        return read_folder_labels(text, Path(uri))


class _LocalTree:
    """A folder of this machine. Folders behind links are not entered; file links may point inside."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))

    def entries(self) -> Iterator[_Entry]:
        if not self._root.is_dir():
            raise IngestError(
                f"The folder {self._root} does not exist.", remedy="Correct the connector's `url`."
            )
        yield from self._below("")

    def _below(self, folder: str) -> Iterator[_Entry]:
        try:
            found = list(os.scandir(self._root / folder))
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

    def _entry(self, uri: str, entry: os.DirEntry[str]) -> Iterator[_Entry]:
        try:
            found = entry.stat()
        except FileNotFoundError:  # gone since the listing, or a link to nothing
            return
        times = f"{found.st_mtime_ns}:{found.st_ctime_ns}"
        yield _Entry(uri=uri, size_bytes=found.st_size, fingerprint=f"{found.st_size}:{times}")

    def read(self, uri: str) -> bytes:
        real = Path(os.path.realpath(self._root / uri))
        if not real.is_relative_to(self._root):
            raise IngestError("It is a link that leads out of the source's folder.", remedy="Copy the file.")
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise IngestError("It is not a plain file.")
            return file.read()


class _RemoteTree:
    """Anything that fsspec lists. Listings are never taken from its cache."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._url = url
        self._options = options
        self._opened: tuple[Any, str] | None = None

    def entries(self) -> Iterator[_Entry]:
        files, root = self._open()
        try:
            found = files.find(root, detail=True)
        except Exception as error:  # noqa: BLE001 - each file system has its own exceptions
            raise IngestError(f"{self._url} cannot be listed: {error}.", remedy="Check `url`.") from error
        for path, detail in found.items():
            uri = path.removeprefix(root).strip("/")
            if any(part.startswith(".") for part in uri.split("/")[:-1]):
                continue
            version = next((detail[key] for key in _VERSION_KEYS if detail.get(key)), "")
            size = int(detail.get("size") or 0)
            yield _Entry(uri=uri, size_bytes=size, fingerprint=f"{size}:{version}")

    def read(self, uri: str) -> bytes:
        files, root = self._open()
        try:
            return bytes(files.cat_file(f"{root.rstrip('/')}/{uri}"))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system has its own exceptions
            raise IngestError(f"It cannot be fetched: {error}.") from error

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            from fsspec.core import url_to_fs

            try:
                self._opened = url_to_fs(self._url, use_listings_cache=False, **self._options)
            except (ImportError, ValueError) as error:
                raise IngestError(f"{self._url} cannot be opened: {error}.", remedy="Check `url`.") from error
        return self._opened
