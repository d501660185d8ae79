"""A deterministic embedder for tests: hashed bags of words, no weights, no torch.

Texts that share words are similar, which is enough to test ingest and search. It has the attributes of
the real embedder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+|[^\w\s]")


class FakeEmbedder:
    """Maps every word to a coordinate and a sign by its hash; other `dimensions` are another model."""

    dimensions = 384
    max_tokens = 256
    digest = hashlib.sha256(b"assistant.testing.embedder 1").hexdigest()

    def __init__(self, dimensions: int = dimensions) -> None:
        if dimensions != self.dimensions:
            self.dimensions = dimensions
            self.digest = hashlib.sha256(f"{self.digest} {dimensions}".encode()).hexdigest()

    def count_tokens(self, text: str) -> int:
        """Return the number of words and punctuation marks."""
        return len(_WORD.findall(text))

    def embed(self, texts: Sequence[str], proceed: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
        """Return unit rows of shape (texts, dimensions); that of a text without words is the first axis."""
        proceed()
        rows = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.lower())[: self.max_tokens]:
                place, sign = _coordinate(word)
                row[place % self.dimensions] += sign
            if not row.any():
                row[0] = 1.0
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=65_536)
def _coordinate(word: str) -> tuple[int, float]:
    digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
    return int.from_bytes(digest[:3], "big"), 1.0 if digest[3] % 2 else -1.0
