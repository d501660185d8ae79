"""How a derived index follows the database: numbered changes, in order, until there are no more.

It owns that walk; it refuses to know what an index looks like.
"""

from __future__ import annotations

from collections.abc import Iterator

from assistant.store.documents import Changes, Documents


def follow(documents: Documents, after: int, embedder: str) -> Iterator[Changes]:
    """Yield all changes numbered above `after`; each one's `number` is where the next walk starts."""
    while (changes := documents.changes(after, embedder)).number > after:
        after = changes.number
        yield changes
