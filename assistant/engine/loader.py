"""Adapters read from disk in the background, while others decode.

It owns one reading thread and what it has read until somebody takes it; at most a few, the oldest goes
first. It refuses to touch the model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from assistant.engine.slots import Prepared, Products, prepare
from assistant.types import AdapterVersion

_MOST = 8


class AdapterLoader:
    """Reads adapter versions on demand.

    Args:
        base_digest, products: what an adapter must fit.
        ready: called in the reading thread when one was read, or failed.
    """

    def __init__(self, base_digest: str, products: Products, ready: Callable[[], None]) -> None:
        self._base_digest, self._products, self._ready = base_digest, products, ready
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="adapters")
        self._read: OrderedDict[str, Future[Prepared]] = OrderedDict()

    def get(self, version: AdapterVersion) -> Prepared | None:
        """Return an adapter if it has been read; otherwise begin to read it, and return None.

        Raises:
            AdapterError: it cannot be read; asking again tries again.
        """
        future = self._read.get(version.digest)
        if future is None:
            future = self._thread.submit(prepare, version, self._base_digest, self._products)
            self._read[version.digest] = future
            future.add_done_callback(lambda _: self._ready())
            self._drop_old()
        if not future.done():
            return None
        if future.exception() is not None:
            self.forget(version.digest)
        return future.result()

    def forget(self, digest: str) -> None:
        """Drop what was read of an adapter."""
        self._read.pop(digest, None)

    def close(self) -> None:
        """End the thread; what it reads now is read to its end."""
        self._thread.shutdown(cancel_futures=True)

    def _drop_old(self) -> None:
        done = [digest for digest, future in self._read.items() if future.done()]
        for digest in done[: max(0, len(self._read) - _MOST)]:
            self.forget(digest)
