"""An embedder with the last questions' vectors at hand: search, router and focus ask for the same one.

It owns which texts are kept: the few of calls with a question or two; the oldest goes first. It refuses to
keep what is embedded in bulk.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from assistant.retrieval.search import TextEmbedder

KEPT = 64
_TOGETHER = 2
"""Texts of a call that are kept: a question, and the same one with its conversation."""


class Remembered:
    """A `TextEmbedder` in front of another one. Safe to call from several threads."""

    def __init__(self, embedder: TextEmbedder) -> None:
        self._embedder = embedder
        self.digest, self.dimensions = embedder.digest, embedder.dimensions
        self.count_tokens = embedder.count_tokens
        self._lock = threading.Lock()
        self._kept: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (texts, dimensions); only what is not at hand is embedded."""
        with self._lock:
            known = {text: self._kept[text] for text in texts if text in self._kept}
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known.update(zip(new, self._embedder.embed(new), strict=True))
        if len(texts) <= _TOGETHER:
            self._keep(known)
        rows = [known[text] for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimensions)

    def _keep(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        with self._lock:
            for text, vector in vectors.items():
                self._kept.pop(text, None)
                self._kept[text] = vector
            for oldest in list(self._kept)[:-KEPT]:
                del self._kept[oldest]
