"""Anything that fsspec can list as a tree of files: object stores, SFTP, SMB, WebDAV.

It owns opening by URL, listings that are complete or fail, fingerprints and bounded reading. It refuses
cached listings, and a listing in which a folder could not be read: fsspec's own `walk` leaves such
folders out in silence, below the root even with `on_error="raise"`, and what is left out is deleted.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from assistant.connectors.retry import retried
from assistant.connectors.schemes import opened
from assistant.connectors.tree import Entry, inside, within
from assistant.errors import ConfigError, IngestError

T = TypeVar("T")
Detail = Mapping[str, Any]

_VERSIONS = (
    *("ETag", "etag", "version_id", "generation"),
    *("mtime", "LastModified", "last_modified", "modified", "updated", "created"),
)
_FRESH_S = 2.0
_HEADS_AT_ONCE = 64


class RemoteTree:
    """What stands below a URL.

    Args:
        options: of the fsspec file system; they win over what the URL says.
        retries: how often a failed request is tried again, on a new connection.
    """

    def __init__(self, url: str, options: Mapping[str, Any], *, retries: int = 3) -> None:
        self._url = url
        self._options = options
        self._retries = retries
        self._lock = threading.RLock()
        self._opened: tuple[Any, str, bool] | None = None

    def is_file(self) -> bool:
        """Whether the URL names a file rather than a folder.

        Raises:
            IngestError: the place cannot be reached.
        """
        try:
            return bool(self._call(lambda files, root: files.isfile(root)))
        except Exception as error:  # noqa: BLE001 - each file system has its own exceptions
            raise self._failed("cannot be read", error) from error

    def entries(self) -> Iterator[Entry]:
        """Yield every file below the URL.

        Raises:
            IngestError: the place cannot be reached, or a part of it cannot be listed.
            ConfigError: the URL's driver is not installed.
        """
        try:
            self._call(lambda files, root: files.invalidate_cache())
            root, is_flat = self._open()[1:]
            found = self._flat() if is_flat else list(self._walk(root))
            self._call(lambda files, root: files.invalidate_cache())
        except Exception as error:  # noqa: BLE001 - each file system has its own exceptions
            raise self._failed("cannot be listed", error) from error
        now = time.time()
        for detail in found:
            if (uri := self._uri(detail, root)) is not None:
                size = int(detail.get("size") or 0)
                yield Entry(uri=uri, size_bytes=size, fingerprint=_fingerprint(detail, size, now))

    def read(self, uri: str, *, size_bytes: int, limit_bytes: int) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: it vanished.
            IngestError: it is too large, was cut short on its way, or cannot be fetched.
        """
        inside(uri)
        within(size_bytes, limit_bytes)

        def fetch(files: Any, root: str) -> bytes:  # noqa: ANN401 - an fsspec file system
            path = _join(root, uri)
            bounds = {"start": 0, "end": limit_bytes + 1} if size_bytes else {}  # no range of nothing
            data = bytes(files.cat_file(path, **bounds))
            if size_bytes and len(data) not in (size_bytes, limit_bytes + 1):
                files.invalidate_cache()
                if files.info(path).get("size") != len(data):
                    raise ConnectionError(f"{len(data):,} bytes came of {size_bytes:,}")
            return data

        try:
            data = self._call(fetch)
        except FileNotFoundError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system has its own exceptions
            raise IngestError(f"It cannot be fetched: {self._told(error)}.") from error
        within(len(data), limit_bytes)
        return data

    def beginnings(self, entries: Sequence[Entry], size_bytes: int) -> Mapping[str, bytes]:
        """Return up to `size_bytes` of each file's beginning; those that cannot be read are left out."""
        found: dict[str, bytes] = {}
        for start in range(0, len(entries), _HEADS_AT_ONCE):
            found.update(self._heads(entries[start : start + _HEADS_AT_ONCE], size_bytes))
        return found

    def _heads(self, entries: Sequence[Entry], size_bytes: int) -> dict[str, bytes]:
        def fetch(files: Any, root: str) -> list[bytes | Exception]:  # noqa: ANN401 - an fsspec file system
            paths = [_join(root, entry.uri) for entry in entries]
            ends = [size_bytes if entry.size_bytes else None for entry in entries]  # no range of nothing
            return list(
                files.cat_ranges(paths, [0 if end else None for end in ends], ends, on_error="return")
            )

        try:
            fetched = self._call(fetch)
        except Exception:  # noqa: BLE001 - each file system has its own exceptions
            return {}
        pairs = zip(entries, fetched, strict=True)
        return {entry.uri: data[:size_bytes] for entry, data in pairs if isinstance(data, bytes)}

    def _flat(self) -> list[Detail]:
        found = self._call(lambda files, root: files.find(root, detail=True))
        return [{"name": name, **detail} for name, detail in dict(found).items()]

    def _walk(self, root: str) -> Iterator[Detail]:
        folders = [root]
        while folders:
            folder = folders.pop()
            for detail in self._ls(folder):
                name = str(detail["name"]).rstrip("/")
                if detail.get("type") != "directory":
                    yield detail
                elif name.strip("/") != folder.strip("/") and not name.rpartition("/")[2].startswith("."):
                    folders.append(name)

    def _ls(self, folder: str) -> list[Detail]:
        return self._call(lambda files, root: list(files.ls(folder, detail=True)))

    def _uri(self, detail: Detail, root: str) -> str | None:
        """Return a file's path below the root, or None for what is no file or in a hidden folder."""
        name, base = str(detail["name"]).removeprefix("/"), root.strip("/")
        if detail.get("type", "file") != "file" or name.endswith("/"):
            return None
        if name == base:
            raise IngestError(f"{self._shown} is a file.", remedy="Give the folder it is in.")
        uri = name.removeprefix(f"{base}/") if base else name
        if base and uri == name:
            raise IngestError(f"The listing of {self._shown} named {name}, which is not in it.")
        return None if any(part.startswith(".") for part in uri.split("/")[:-1]) else uri

    def _call(self, do: Callable[[Any, str], T]) -> T:
        """Call the file system; one that is not made for it by one thread at a time."""

        def once() -> T:
            files, root, _ = self._open()
            if getattr(files, "async_impl", False):
                return do(files, root)
            with self._lock:
                return do(files, root)

        return retried(once, retries=self._retries, again=self._forget)

    def _open(self) -> tuple[Any, str, bool]:
        with self._lock:
            if self._opened is None:
                self._opened = opened(self._url, self._options)
            return self._opened

    def _forget(self) -> None:
        with self._lock:
            self._opened = None

    @property
    def _shown(self) -> str:
        """The URL without its password."""
        return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", self._url)

    def _told(self, error: Exception) -> str:
        """Return what an error says, without the secrets of URL and options."""
        said = str(error).strip().rstrip(".") or type(error).__name__
        secrets = re.findall(r"://[^/@:]*:([^/@]+)@", self._url) + list(_strings(self._options, secret=False))
        for secret in sorted(secrets, key=len, reverse=True):
            said = said.replace(secret, "***")
        return said

    def _failed(self, what: str, error: Exception) -> IngestError | ConfigError:
        if isinstance(error, IngestError | ConfigError):
            return error
        return IngestError(
            f"{self._shown} {what}: {self._told(error)}.",
            remedy="Check `url`, credentials and network; until then nothing of this source is changed.",
        )


def _join(root: str, uri: str) -> str:
    return f"{root.rstrip('/')}/{uri}" if root else uri


def _fingerprint(detail: Detail, size_bytes: int, now: float) -> str:
    """Return what changes with the content.

    Without any version the file counts as changed each time: its content decides. So does a time in
    whole seconds that has just passed, within which the file may change once more unseen.
    """
    version = next((detail[key] for key in _VERSIONS if detail.get(key)), None)
    if version is None:
        return f"{size_bytes}:{time.time_ns()}"
    seconds = version.timestamp() if isinstance(version, datetime) else version
    whole = isinstance(seconds, int | float) and seconds == int(seconds)
    fresh = whole and abs(now - float(seconds)) < _FRESH_S
    return f"{size_bytes}:{version}:{time.time_ns()}" if fresh else f"{size_bytes}:{version}"


def _strings(value: object, *, secret: bool) -> Iterator[str]:
    """Yield the texts under keys that sound like secrets."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _strings(each, secret=bool(_SECRET.search(str(key))))
    elif isinstance(value, str) and secret and value:
        yield value


_SECRET = re.compile(r"(?i)secret|password|passwd|token|key|credential|connection_string")
