"""The way from the engine's thread to the event loop that reads a request's items.

It owns delivery, errors included, and what leaving early means: the request is cancelled. It refuses to
know what the items are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from typing import Generic, TypeVar

from assistant.errors import AssistantError, EngineError

T = TypeVar("T")
_END = object()


class Stream(Generic[T]):
    """Made in the reader's event loop, fed from another thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[object] = asyncio.Queue()
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody reads any more."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Say that nobody reads any more."""
        self._cancelled.set()

    async def read(self) -> AsyncGenerator[T, None]:
        """Yield the items; leaving early cancels.

        Raises:
            AssistantError: sent as it is; any other error as EngineError.
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

    def put(self, item: object) -> None:
        """Take an item; to be called in the reader's loop."""
        self._items.put_nowait(item)


class Mail:
    """Items for many streams, sent together once a step: waking an event loop costs more than an item."""

    def __init__(self) -> None:
        self._items: dict[asyncio.AbstractEventLoop, list[tuple[Stream[object], object]]] = {}

    def add(self, stream: Stream[T], item: T) -> None:
        """Send an item with the next delivery."""
        self._add(stream, item)

    def end(self, stream: Stream[T], error: Exception | None = None) -> None:
        """Tell the reader that nothing follows, or why not."""
        self._add(stream, _END if error is None else error)

    def send(self) -> None:
        """Deliver all items; streams whose event loop is gone are cancelled."""
        items, self._items = self._items, {}
        for loop, mine in items.items():
            try:
                loop.call_soon_threadsafe(_put, mine)
            except RuntimeError:  # the reader's loop is closed: nobody is left to read
                for stream, _ in mine:
                    stream.cancel()

    def _add(self, stream: Stream[T], item: object) -> None:
        self._items.setdefault(stream.loop, []).append((stream, item))  # type: ignore[arg-type]


def _put(items: Iterable[tuple[Stream[object], object]]) -> None:
    for stream, item in items:
        stream.put(item)
