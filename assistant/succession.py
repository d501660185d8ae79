"""What serves, and its successor: made in the background, whole, while what is at hand serves on.

It owns when to look, the thread and the swap; what to look at and how to make it are its heirs'. It refuses
to serve less than before: where no successor can be made, what is at hand stays and the reason is logged.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from assistant.errors import AssistantError

LOOK_EVERY_S = 1.0
Made = TypeVar("Made")
State = TypeVar("State")


class Succession(ABC, Generic[Made, State]):
    """Call it for what serves at the moment: a look from time to time, never a wait for a successor."""

    _log: ClassVar[logging.Logger]
    _followed: ClassVar[str]
    _kept: ClassVar[str]

    def __init__(self, look_every_s: float) -> None:
        self.look_every_s = look_every_s
        self._lock = threading.Lock()
        self._made: Made | None = None
        self._next = 0.0
        self._making: threading.Thread | None = None

    def __call__(self) -> Made:
        """Return what is at hand; the first call makes it, later ones begin to make what is to follow.

        Raises:
            AssistantError: there is nothing yet, and it cannot be made.
        """
        with self._lock:
            if self._made is None:
                self._made = self._first()
            elif time.monotonic() >= self._next and not self.changing:
                self._wait(self.look_every_s)
                state = self._changed(self._made)
                if state is not None:
                    self._making = threading.Thread(
                        target=self._succeed, args=(self._made, state), name="succession", daemon=True
                    )
                    self._making.start()
            return self._made

    @property
    def changing(self) -> bool:
        """Whether a successor is being made."""
        return self._making is not None and self._making.is_alive()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until what is being made serves."""
        if self._making is not None:
            self._making.join(timeout_s)

    @abstractmethod
    def _first(self) -> Made:
        """Make what serves first."""

    @abstractmethod
    def _changed(self, made: Made) -> State | None:
        """Look; return what a successor is to be made of, None where none is due."""

    @abstractmethod
    def _successor(self, made: Made, state: State) -> Made:
        """Make what follows, ready to serve."""

    def _wait(self, seconds: float) -> None:
        """Do not look for so long."""
        self._next = time.monotonic() + seconds

    def _succeed(self, made: Made, state: State) -> None:
        try:
            self._made = self._successor(made, state)
            self._log.info(self._followed)
        except AssistantError as error:
            self._log.warning("%s: %s", self._kept, error)
        except Exception:  # noqa: BLE001 - the edge of a thread
            self._log.exception(self._kept)
