"""How a derived index follows the database: numbered changes, in order, until there are no more.

It owns that walk; it refuses to know what an index looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from assistant.store.records import Changes, VectorChanges

C = TypeVar("C", Changes, VectorChanges)


def follow(read: Callable[[int, str], C], after: int, embedder: str) -> Iterator[C]:
    """Yield all changes numbered above `after`; each one's `number` is where the next walk starts.

    Args:
        read: `Documents.changes` or `Documents.vectors`.

    Raises:
        IndexDamaged: removals after that number were pruned; begin anew from 0.
    """
    while (changes := read(after, embedder)).number > after:
        after = changes.number
        yield changes
