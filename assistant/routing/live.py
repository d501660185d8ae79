"""The router that serves, and its successor: learned in the background when a department changed.

It owns when to look and the swap; where to look and how to learn are handed in. It refuses to serve less
than before: where learning fails, the router at hand stays and the reason is logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from assistant.errors import AssistantError
from assistant.routing.router import Router

log = logging.getLogger("assistant.routing")

LOOK_EVERY_S = 1.0
_State = tuple[tuple[str, int, int, int], ...]


class Live:
    """Call it for the router of the moment. A look at the files takes microseconds, once a second."""

    def __init__(
        self,
        folder: Path,
        patterns: Sequence[str],
        learn: Callable[[], Router],
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Watch the files of `folder` that match a pattern; `learn` reads them and makes a router."""
        self._folder, self._patterns, self._learn = folder, tuple(patterns), learn
        self.look_every_s = look_every_s
        self._lock = threading.Lock()
        self._router: Router | None = None
        self._state: _State = ()
        self._looked = 0.0
        self._learning: threading.Thread | None = None

    def __call__(self) -> Router:
        """Return the router at hand; the first call learns it, later ones start learning what changed.

        Raises:
            ConfigError: there is none yet, and the departments are wrong.
        """
        with self._lock:
            if self._router is None:
                self._state = self._look()
                self._router = self._learn()
            elif time.monotonic() - self._looked >= self.look_every_s and not self.learning:
                state = self._look()
                if state != self._state:
                    self._learning = threading.Thread(target=self._relearn, args=(state,), daemon=True)
                    self._learning.start()
            return self._router

    @property
    def learning(self) -> bool:
        """Whether a successor is being learned."""
        return self._learning is not None and self._learning.is_alive()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until what is being learned serves."""
        if self._learning is not None:
            self._learning.join(timeout_s)

    def _relearn(self, state: _State) -> None:
        try:
            self._router = self._learn()
            log.info("the router has learned what changed in its departments")
        except AssistantError as error:
            log.warning("departments changed but the router goes on as it was: %s", error)
        except Exception:  # noqa: BLE001 - the edge of a thread
            log.exception("departments changed but the router goes on as it was")
        self._state = state  # also after a failure: only another change is worth another try

    def _look(self) -> _State:
        """Name the state of the files: path, inode, size and time of change of each."""
        self._looked = time.monotonic()
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
