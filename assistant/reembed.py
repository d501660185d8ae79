"""Another embedder for everything that is stored: embedded beside what serves, then swapped in one step.

Nothing is fetched, extracted or cut again. It can be interrupted and goes on where it was; what serves
meanwhile keeps the vectors that it has, and follows the swap by itself (`serving`). It refuses to swap while
anything is missing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from assistant.store.beside import Beside
from assistant.store.database import Database

_TOGETHER = 256


def reembed(
    database: Database,
    embed: Callable[[list[str]], NDArray[np.float32]],
    embedder: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Give all chunks vectors of the embedder; return how many were embedded.

    Args:
        embed: texts to unit rows, shape (texts, dimensions).
        embedder: its digest.
        progress: called with how many are done, of how many.

    Raises:
        StoreError: the database cannot be written; what was embedded until then is kept.
    """
    beside = Beside(database, embedder)
    done, total = 0, beside.left()
    while True:
        while texts := beside.missing(_TOGETHER):
            beside.add(list(texts), embed(list(texts.values())))
            done += len(texts)
            progress(done, max(done, total))
        if beside.swap():
            return done
