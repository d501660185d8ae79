"""What stands inside an archive: zip, tar (packed or not), a packed single file, mailbox.

It owns the bounds on expansion and the names under which members are known. It refuses paths that lead
outside, members that are no regular files, and what only operating systems put there; nothing is ever
written to disk.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from email import message_from_bytes
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any

from assistant.errors import IngestError
from assistant.extraction.broken import BROKEN
from assistant.extraction.limits import Budget

Content = tuple[str, Callable[[], bytes]]  # a path inside, and what reads it
_JUNK = re.compile(r"(^|/)(__MACOSX|\.DS_Store|Thumbs\.db|desktop\.ini|\.git)(/|$)", re.IGNORECASE)
_FROM_LINE = re.compile(rb"(?:\A|\r?\n\r?\n)From \S[^\n]*\n")
_RATIO, _HARMLESS_BYTES = 200, 32 << 20


def contents(data: bytes, kind: str, uri: str, budget: Budget) -> Iterator[Content]:
    """Yield every file inside an archive.

    Raises:
        IngestError: damaged, or over a limit; in each reader too.
    """
    found = {"zip": _zip, "tar": _tar, "mbox": _mails}[kind]
    names, empty = Names(), True
    try:
        for path, load in found(data, uri, budget):
            if inside := _inside(path):
                empty = False
                yield names.unique(inside), _careful(load)
    except BROKEN as error:
        raise IngestError(f"The archive is damaged: {error}.", remedy="Pack it again.") from error
    if empty:
        raise IngestError("The archive holds no files.")


class Names:
    """The names that were given; a second of the same name gets a number."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """Return `name`, numbered if it was given before."""
        count = self._seen[name] = self._seen.get(name, 0) + 1
        if count == 1:
            return name
        path = PurePosixPath(name)
        return self.unique(str(path.with_name(f"{path.stem}-{count}{path.suffix}")))


def _inside(path: str) -> str | None:
    """Return a path inside as this project writes it; None for what is no document."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    clean = "/".join(parts)[-500:]
    return None if not clean or _JUNK.search(clean) else clean


def _careful(load: Callable[[], bytes]) -> Callable[[], bytes]:
    def loaded() -> bytes:
        try:
            return load()
        except BROKEN as error:
            raise IngestError(f"It is damaged or encrypted inside its archive: {error}.") from error

    return loaded


def _zip(data: bytes, uri: str, budget: Budget) -> Iterator[Content]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        budget.enter(len(files))
        declared = sum(info.file_size for info in files)
        if declared > max(_HARMLESS_BYTES, _RATIO * len(data)):
            raise IngestError(
                f"It expands {declared // len(data)}-fold, as only a trap does.", remedy="Unpack it yourself."
            )
        if budget.expanded_bytes + declared > budget.limits.max_expanded_bytes:
            budget.expand(declared)
        for info in files:
            yield info.filename, partial(_member, archive, info, budget)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> bytes:
    return _read(archive.open(info), info.file_size, budget)


def _tar(data: bytes, uri: str, budget: Budget) -> Iterator[Content]:
    try:
        archive = tarfile.open(fileobj=io.BytesIO(data), mode="r:*")
    except tarfile.ReadError:
        yield from _packed(data, uri, budget)
        return
    with archive:
        passed = 0
        for info in archive:
            passed += info.size  # also what is not read has to be unpacked to get past it
            if passed > budget.limits.max_expanded_bytes:
                budget.expand(passed)
            budget.enter(1)
            if info.isreg() and (file := archive.extractfile(info)):
                yield info.name, partial(_read, file, info.size, budget)


def _packed(data: bytes, uri: str, budget: Budget) -> Iterator[Content]:
    """Yield the one file that gzip, bzip2 or xz holds."""
    opener: Callable[[IO[bytes]], Any] = lzma.LZMAFile
    if data.startswith(b"\x1f\x8b"):
        opener = _gzip
    elif data.startswith(b"BZ"):
        opener = bz2.BZ2File
    name = PurePosixPath(uri).stem or "file"
    budget.enter(1)
    yield name, partial(_unpack, opener, data, budget)


def _unpack(opener: Callable[[IO[bytes]], Any], data: bytes, budget: Budget) -> bytes:
    return _read(opener(io.BytesIO(data)), budget.limits.max_bytes, budget, exact=False)


def _gzip(file: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=file)


def _mails(data: bytes, uri: str, budget: Budget) -> Iterator[Content]:
    """Yield the mails of an mbox (RFC 4155), named by message id so that later mails change no name."""
    starts = [match.end() for match in _FROM_LINE.finditer(data)]
    budget.enter(len(starts))
    ends = [match.start() for match in _FROM_LINE.finditer(data)][1:] + [len(data)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        mail = re.sub(rb"(?m)^>(>*From )", rb"\1", data[start:end])
        said = message_from_bytes(mail[:20_000]).get("Message-ID")
        name = re.sub(r"[^\w.@+-]+", "-", str(said or number).strip(" <>"))[:200].strip("-.") or str(number)
        yield f"{name}.eml", partial(bytes, mail)


def _read(file: IO[bytes], size: int, budget: Budget, *, exact: bool = True) -> bytes:
    """Read a member whole, never more than was announced or is allowed."""
    if size > budget.limits.max_bytes:
        raise IngestError(f"It has {size >> 20} MiB, more than {budget.limits.max_bytes >> 20}.")
    with file:
        if exact:
            budget.expand(size)
            return file.read(size)
        data = file.read(size + 1)
    budget.expand(len(data))
    if len(data) > size:
        raise IngestError(f"It has more than {size >> 20} MiB.")
    return data
