"""Bytes to a process and lines back, each before a deadline.

It owns waiting; it refuses a line that is longer than it may be, so that a process cannot fill its
parent's memory.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence

_WRITE_BYTES, _READ_BYTES = 1 << 16, 1 << 20


class Pipe:
    """Both ends of a conversation by file descriptors; `most_bytes` bounds one line."""

    def __init__(self, source: int, sink: int, *, most_bytes: int) -> None:
        self._source = source
        self._sink = sink
        self._most_bytes = most_bytes
        self._received = bytearray()
        os.set_blocking(sink, False)

    def send(self, parts: Sequence[bytes], *, deadline: float) -> None:
        """Send all of it.

        Raises:
            TimeoutError: not taken before `deadline` (of `time.monotonic`).
            OSError: nobody reads it.
        """
        for part in parts:
            left = memoryview(part)
            while left:
                self._wait(self._sink, select.POLLOUT, deadline)
                left = left[os.write(self._sink, left[:_WRITE_BYTES]) :]

    def line(self, *, deadline: float) -> bytes:
        """Return the next line.

        Raises:
            TimeoutError: it did not come before `deadline`.
            EOFError: nobody writes it.
            ValueError: it is too long.
        """
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > self._most_bytes:
                raise ValueError("a line without end")
            self._wait(self._source, select.POLLIN, deadline)
            piece = os.read(self._source, _READ_BYTES)
            if not piece:
                raise EOFError
            self._received += piece
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def _wait(self, file: int, event: int, deadline: float) -> None:
        poll = select.poll()  # not select: file numbers go beyond 1,024 in a server
        poll.register(file, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError
