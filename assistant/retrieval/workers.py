"""Threads that compute side by side, each with one thread of torch's own.

For many small independent batches that is faster than one computation on all cores: nobody waits for
anybody at the end of every operation. It refuses to change how many threads the rest of the process uses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")


class Workers:
    """A pool of `count` such threads, started at once; they end with the process, or with `close`."""

    def __init__(self, count: int) -> None:
        self.count = count
        before = torch.get_num_threads()
        started = threading.Barrier(count + 1)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="embed")
        for _ in range(count):
            self._pool.submit(_alone, started)
        started.wait()
        torch.set_num_threads(before)  # a thread's own number stays; the default for new ones is restored

    def map(self, make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
        """Yield what `make` makes of each, in order; several callers share the threads."""
        return self._pool.map(make, given)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _alone(started: threading.Barrier) -> None:
    torch.get_num_threads()  # the first look at it would set it back to the default
    torch.set_num_threads(1)
    started.wait()
