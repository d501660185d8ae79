"""Reading and embedding side by side, in order and in bounded memory.

It owns the threads and what may wait between them: a bounded number of bytes that were read and are not
yet embedded, and a few calls of the embedder, each with the texts of several documents. It refuses to
store: whoever takes the results does, while the next ones are being made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from assistant.ingesting.plan import Step
from assistant.ingesting.reading import Read

Made = TypeVar("Made")
Vectors = NDArray[np.float32]
Embed = Callable[[list[str]], Vectors]

TEXTS_TOGETHER = 128
CALLS_AHEAD = 2
BYTES_AHEAD = 64 << 20
FILES_AHEAD = 256
_LOOK_EVERY_S = 0.2


def flow(
    steps: Iterable[Step],
    *,
    read: Callable[[Step], Read],
    embed: Embed,
    readers: int,
    proceed: Callable[[], None] = lambda: None,
    abandon: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Read, list[Vectors]]]:
    """Yield what was read of each step with the rows of its pieces, in the order of the steps.

    Args:
        embed: texts to unit rows, shape (texts, dimensions); called from several threads.
        readers: threads that read.
        proceed: called several times a second while it waits; what it raises ends it.
        abandon: called at the end, before what is still being read is waited for: it may cut that short.
    """
    reading = ThreadPoolExecutor(readers, thread_name_prefix="read")
    embedding = ThreadPoolExecutor(CALLS_AHEAD, thread_name_prefix="embed")
    ahead = _Ahead(iter(steps), read, reading, proceed)
    calls: deque[tuple[list[Read], Future[list[list[Vectors]]]]] = deque()
    try:
        while ahead.more() or calls:
            together = ahead.take(patient=not calls) if len(calls) < CALLS_AHEAD else []
            if together:
                calls.append((together, embedding.submit(_embedded, together, embed)))
                continue
            reads, call = calls.popleft()
            rows = _awaited(call, proceed)
            yield from zip(reads, rows, strict=True)
    finally:
        reading.shutdown(wait=False, cancel_futures=True)
        abandon()
        for pool in (reading, embedding):
            pool.shutdown(wait=True, cancel_futures=True)


def _awaited(future: Future[Made], proceed: Callable[[], None]) -> Made:
    """Return what a future gives, and look meanwhile whether to go on."""
    while not wait([future], _LOOK_EVERY_S).done:
        proceed()
    return future.result()


class _Ahead:
    """Items that are being read or were, in order; no more of them than fit into the bounds."""

    def __init__(
        self,
        steps: Iterator[Step],
        read: Callable[[Step], Read],
        pool: ThreadPoolExecutor,
        proceed: Callable[[], None],
    ) -> None:
        self._steps, self._read, self._pool, self._proceed = steps, read, pool, proceed
        self._next: Step | None = next(steps, None)
        self._waiting: deque[tuple[Step, Future[Read]]] = deque()

    def more(self) -> bool:
        """Read ahead as far as allowed; whether anything is left to take."""
        size = sum(map(_size, self._waiting))
        while self._next is not None and len(self._waiting) < FILES_AHEAD:
            size += self._next.item.size_bytes
            if self._waiting and size > BYTES_AHEAD:
                break
            self._waiting.append((self._next, self._pool.submit(self._read, self._next)))
            self._next = next(self._steps, None)
        return bool(self._waiting)

    def take(self, *, patient: bool) -> list[Read]:
        """Take what is read, up to a number of texts; a `patient` one waits for at least one."""
        taken: list[Read] = []
        texts = 0
        while self._waiting and texts < TEXTS_TOGETHER and len(taken) < FILES_AHEAD:
            _, future = self._waiting[0]
            if not (future.done() or (patient and not taken)):
                break
            self._waiting.popleft()
            taken.append(_awaited(future, self._proceed))
            texts += sum(1 for _ in taken[-1].texts)
        return taken


def _size(waiting: tuple[Step, Future[Read]]) -> int:
    step, future = waiting
    return future.result().size_bytes if future.done() else step.item.size_bytes


def _embedded(reads: Sequence[Read], embed: Embed) -> list[list[Vectors]]:
    """Embed the texts of several documents in one call, the same text only once."""
    texts = [text for read in reads for text in read.texts]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    found = embed(list(places))
    rows = found[np.array([places[text] for text in texts], dtype=np.intp)]
    result, start = [], 0
    for read in reads:
        ends = accumulate((len(piece.texts) for piece in read.pieces), initial=start)
        result.append([rows[one:other] for one, other in pairwise(ends)])
        start += sum(len(piece.texts) for piece in read.pieces)
    return result
