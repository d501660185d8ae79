"""The process in which files are taken apart: `python -m assistant.extraction.bounded SETTINGS`.

It owns the limits that the operating system holds (memory, processor time, files) and the order
in which a file and what stands inside it are read and told. Each line it writes is one step: a file inside
begins, a file was read, or could not be. A hostile file costs this process, never its parent.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from assistant.errors import IngestError
from assistant.extraction.archive import Content
from assistant.extraction.extracted import Extracted
from assistant.extraction.formats import read
from assistant.extraction.limits import Budget, Limits
from assistant.extraction.readers import Readers
from assistant.extraction.wire import encoded

_MOST_WRITTEN = 64 << 20  # bytes: the library that reads PDFs is unpacked once, nothing else is written


@dataclass(slots=True, kw_only=True)
class _Request:
    """One file in the reading.

    `done` members were told before an earlier process died over this file; those in `avoid` killed it.
    """

    replies: IO[bytes]
    readers: Readers
    budget: Budget
    done: int = 0
    avoid: frozenset[int] = frozenset()
    count: int = field(default=0)

    def answer(self, data: bytes, uri: str) -> None:
        """Tell the file, then every member, then that this is all."""
        extracted, reason, inside = self._read(data, uri, inside_archive=False)
        if extracted is None:
            self._tell(error=reason, resident_bytes=_resident_bytes())
            return
        self._tell(extracted=encoded(extracted))
        self._members(inside, "", 1)
        self._tell(end=True, resident_bytes=_resident_bytes())

    def _members(self, inside: Iterator[Content], folder: str, depth: int) -> None:
        try:
            for name, load in inside:
                self._member(f"{folder}{name}", name, load, depth)
        except Exception as error:  # noqa: BLE001 - any file, any failure
            message = error.message if isinstance(error, IngestError) else _said(error)
            self._tell(rest=f"{folder or 'It'}: {message}")

    def _member(self, path: str, name: str, load: Any, depth: int) -> None:  # noqa: ANN401
        number, self.count = self.count, self.count + 1
        if number in self.avoid:
            return
        fresh = number >= self.done
        if fresh:
            _limit_processor(self.budget.limits.timeout_s)
            self._tell(begin=path)
        extracted, reason, inside = self._loaded(name, load, depth)
        if fresh:
            told = None if extracted is None or not extracted.text else encoded(extracted)
            self._tell(member=path, extracted=told, reason=reason)
        self._members(inside, f"{path}!/", depth + 1)

    def _loaded(self, name: str, load: Any, depth: int) -> tuple[Extracted | None, str, Iterator[Content]]:  # noqa: ANN401
        if depth > self.budget.limits.max_depth:
            return None, f"It stands deeper than {self.budget.limits.max_depth} archives.", iter(())
        try:
            data = load()
            _limit_processor(self.budget.limits.processor_s(len(data)))
        except Exception as error:  # noqa: BLE001 - any file, any failure
            return None, str(error) if isinstance(error, IngestError) else _said(error), iter(())
        return self._read(data, name, inside_archive=True)

    def _read(
        self, data: bytes, uri: str, *, inside_archive: bool
    ) -> tuple[Extracted | None, Any, Iterator[Content]]:
        """Return a document, or why there is none, and what stands inside."""
        try:
            extracted, inside = self.readers.read(data, uri) or read(data, uri, self.budget)
            self.budget.take(len(extracted.text), inside=inside_archive)
            return extracted, "", inside
        except IngestError as error:
            reason: Any = str(error) if inside_archive else [error.message, error.remedy]
        except Exception as error:  # noqa: BLE001 - any file, any failure
            reason = _said(error) if inside_archive else [_said(error), ""]
        return None, reason, iter(())

    def _tell(self, **values: Any) -> None:  # noqa: ANN401
        self.replies.write(json.dumps(values).encode() + b"\n")
        self.replies.flush()


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "It needs more memory than the limit."
    return f"It cannot be read: {type(error).__name__}: {str(error)[:200]}."


def main() -> None:
    """Serve requests from standard input until it ends; replies go to the original standard output."""
    settings = json.loads(sys.argv[1])
    limits = Limits(**settings["limits"])
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with replies
    _limit(resource.RLIMIT_AS, limits.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    readers = Readers(settings["readers"])
    if not settings["readers"]:
        _limit(resource.RLIMIT_FSIZE, _MOST_WRITTEN)
    requests = sys.stdin.buffer
    while line := requests.readline():
        request = json.loads(line)
        _limit_processor(limits.processor_s(request["size"]))
        data = requests.read(request["size"])
        _Request(
            replies=replies,
            readers=readers,
            budget=Budget(limits=limits),
            done=request["done"],
            avoid=frozenset(request["avoid"]),
        ).answer(data, request["uri"])


def _limit(kind: int, most: int) -> None:
    try:
        resource.setrlimit(kind, (most, most))
    except (ValueError, OSError):  # a system that has no such limit, or a lower one already
        return


def _limit_processor(seconds: float) -> None:
    """End this process by itself, also where its parent is dead and cannot end it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))
    except (ValueError, OSError):
        return


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


if __name__ == "__main__":
    main()
