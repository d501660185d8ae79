"""One thread that runs an engine's jobs, first in, first out.

It owns the queue, its bound and the thread; it refuses to know what a job does. A job is an iterator:
each item goes to its reader, and between two items a job can be cancelled.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Generic, TypeVar

from assistant.errors import AssistantError, EngineError, Overloaded

T = TypeVar("T")
_END = object()


class Job(Generic[T]):
    """Work in the queue or running, and the way its items reach the event loop that reads them."""

    def __init__(self, run: Callable[[], Iterator[T]]) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[object] = asyncio.Queue()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop before the next item."""
        self._cancelled.set()

    def execute(self) -> None:
        """Run in the worker's thread; every error goes to the reader."""
        try:
            if not self._cancelled.is_set():
                for item in self._run():
                    self._send(item)
                    if self._cancelled.is_set():
                        break
            self._send(EngineError("The request was cancelled.") if self._cancelled.is_set() else _END)
        except Exception as error:  # noqa: BLE001 - the worker's edge: the reader decides
            self._send(error)

    def fail(self, error: Exception) -> None:
        """Tell the reader that the job will not run."""
        self._send(error)

    async def read(self) -> AsyncGenerator[T, None]:
        """Yield the job's items; leaving early cancels it.

        Raises:
            AssistantError: raised by the job as it is; any other error as EngineError.
        """
        try:
            while (item := await self._items.get()) is not _END:
                if isinstance(item, AssistantError):
                    raise item
                if isinstance(item, Exception):
                    raise EngineError(f"Generation failed: {type(item).__name__}: {item}") from item
                yield item  # type: ignore[misc]  # only T, errors and the end are sent
        finally:
            self.cancel()

    def _send(self, item: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:  # the reader's loop is closed: nobody is left to read
            self.cancel()


class Worker:
    """The thread, its queue of at most `length` waiting jobs, and how long jobs take."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._queue: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._running: Job[object] | None = None
        self._closed = False
        self._seconds = 1.0
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[], Iterator[T]], *, bounded: bool = True) -> Job[T]:
        """Queue a job.

        Args:
            bounded: whether the queue's bound applies (housekeeping is let through).

        Raises:
            Overloaded: the queue is full.
            EngineError: the worker was closed.
        """
        job = Job(run)
        with self._lock:
            if self._closed:
                raise EngineError("The engine is closed.")
            if bounded and self._waiting >= self._length:
                raise Overloaded(
                    f"{self._waiting} questions are waiting already.",
                    retry_after_s=round(max(1.0, self._seconds * self._waiting), 1),
                    remedy="Retry later.",
                )
            self._waiting += 1
            self._queue.put(job)  # type: ignore[arg-type]
        return job

    def close(self) -> None:
        """Cancel what runs, refuse what waits, and end the thread."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.cancel()
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                self._waiting -= 1
                closed, self._running = self._closed, job
            if closed:
                job.fail(EngineError("The engine was closed before this request ran."))
                continue
            began = time.monotonic()
            job.execute()
            with self._lock:
                self._running = None
            self._seconds += 0.2 * (time.monotonic() - began - self._seconds)
