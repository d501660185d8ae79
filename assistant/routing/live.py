"""The router that serves, and its successor: learned in the background when a department changed.

It owns what to look at; how to learn is handed in, and the swap is `succession`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from assistant.routing.router import Router
from assistant.succession import LOOK_EVERY_S, Succession

_State = tuple[tuple[str, int, int, int], ...]


class Live(Succession[Router, _State]):
    """Call it for the router of the moment. A look at the files takes microseconds, once a second."""

    _log: ClassVar = logging.getLogger("assistant.routing")
    _followed: ClassVar = "the router has learned what changed in its departments"
    _kept: ClassVar = "departments changed but the router goes on as it was"

    def __init__(
        self,
        folder: Path,
        patterns: Sequence[str],
        learn: Callable[[], Router],
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Watch the files of `folder` that match a pattern; `learn` reads them and makes a router."""
        super().__init__(look_every_s)
        self._folder, self._patterns, self._learn = folder, tuple(patterns), learn
        self._state: _State = ()

    def _first(self) -> Router:
        self._wait(self.look_every_s)
        self._state = self._look()
        return self._learn()

    def _changed(self, made: Router) -> _State | None:
        """Return the state of files that are not as they were learned, or found to be wrong."""
        before, self._state = self._state, self._look()
        return self._state if self._state != before else None

    def _successor(self, made: Router, state: _State) -> Router:
        return self._learn()

    def _look(self) -> _State:
        """Name the state of the files: path, inode, size and time of change of each."""
        return tuple(
            sorted(_signatures(file for pattern in self._patterns for file in self._folder.glob(pattern)))
        )


def _signatures(files: Iterable[Path]) -> Iterable[tuple[str, int, int, int]]:
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        yield str(file), found.st_ino, found.st_size, found.st_mtime_ns
