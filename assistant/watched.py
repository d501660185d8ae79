"""A file that an operator edits while the assistant runs, and what was last made of it.

It owns noticing that the file changed, at the cost of one `stat` where it did not. It fails closed: while
what stands there cannot be read, everybody who asks gets the error, never what stood there before.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from assistant.errors import AssistantError, ConfigError

Made = TypeVar("Made")
_SETTLED_NS = 2_000_000_000
"""A file changed less than this ago may change again under the same time stamp (git's "racy" entries)."""


class Watched(Generic[Made]):
    """The newest form of one file. Safe to call from several threads."""

    def __init__(self, file: Path, make: Callable[[str, Path], Made], remedy: str = "Restore it.") -> None:
        """Watch `file`; `make` turns its text into a value, first when the value is first asked for.

        Args:
            remedy: what to do when it cannot be read; until then whatever needs it is refused.
        """
        self._file, self._make, self._remedy = file, make, remedy
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._content: bytes | None = None
        self._made: Made | AssistantError | None = None

    def current(self) -> Made:
        """Return what the file says now.

        Raises:
            ConfigError: it is missing or no UTF-8 text; or whatever `make` raises for it.
        """
        stamp = _stamp(self._file)
        with self._lock:
            if stamp is None or stamp != self._stamp:
                self._look()
                self._stamp = stamp
            if isinstance(self._made, AssistantError):
                raise self._made.with_traceback(None)
            assert self._made is not None
            return self._made

    def _look(self) -> None:
        """Read the file; what was made of the same bytes before still holds."""
        try:
            content = self._file.read_bytes()
            if content == self._content and self._made is not None:
                return
            self._content = None
            self._made = self._make(content.decode("utf-8"), self._file)
            self._content = content
        except AssistantError as error:
            self._made = error
        except (OSError, UnicodeDecodeError) as error:
            self._made = ConfigError(f"{self._file} cannot be read: {error}.", remedy=self._remedy)


def _stamp(file: Path) -> tuple[int, ...] | None:
    """Name this state of the file; None while nothing would tell it from the next one."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    if abs(time.time_ns() - found.st_ctime_ns) < _SETTLED_NS:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
