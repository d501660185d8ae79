"""How a long command ends when it is told to: at the next step of its work, with what is done kept.

It owns the signals; what a step is, the work itself knows.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from assistant.errors import AssistantError


class Stopped(AssistantError):
    """The command was told to end."""


class Ending(threading.Event):
    """Set once the command is to end."""

    def proceed(self) -> None:
        """Go on, in whatever thread.

        Raises:
            Stopped: no longer.
        """
        if self.is_set():
            raise Stopped("stopped before it was done; what is stored stays, and the next run goes on")


@contextmanager
def ending() -> Iterator[Ending]:
    """Yield what SIGTERM sets, and an interrupt before it is raised as ever."""
    end = Ending()

    def told(number: int, frame: FrameType | None) -> None:
        end.set()
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
