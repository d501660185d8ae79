"""How a long command ends when it is told to: at the next step of its work, with what is done kept.

It owns the signals; what a step is, the work itself knows.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from assistant.errors import AssistantError

_SLICE_S = 0.1


class Stopped(AssistantError):
    """The command was told to end."""


class Ending:
    """`told` once the command is to end: a plain flag, as a lock may hang in a handler inside a handler."""

    told = False

    def proceed(self) -> None:
        """Go on, in whatever thread.

        Raises:
            Stopped: no longer.
        """
        if self.told:
            raise Stopped("stopped before it was done; what is stored stays, and the next run goes on")

    def wait(self, seconds: float) -> None:
        """Wait so long, or until it is told."""
        until = time.monotonic() + seconds
        while not self.told and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))


@contextmanager
def ending() -> Iterator[Ending]:
    """Yield what SIGTERM tells, and an interrupt before it is raised as ever; what is ignored stays so.

    A second SIGTERM acts by default, whatever the work is stuck in.
    """
    end = Ending()

    def told(number: int, frame: FrameType | None) -> None:
        end.told = True
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, told)
        yield end
    finally:
        for number in heard:
            signal.signal(number, before[number])
