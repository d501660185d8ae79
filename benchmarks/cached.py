"""An embedder that keeps what it embedded in a folder, so that a run that is repeated is quick."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.embed import Embedder
from assistant.testing.embedder import FakeEmbedder
from benchmarks.figures import ROOT

_PART = 256


class CachedEmbedder:
    """Another embedder, with every vector kept by the text it is of; without a folder, in memory only."""

    def __init__(self, embedder: Embedder | FakeEmbedder, folder: Path | None) -> None:
        self._embedder = embedder
        self._folder = folder / embedder.digest[:16] if folder else None
        self._vectors: dict[str, NDArray[np.float32]] = {}
        for file in sorted(self._folder.glob("*.npz")) if self._folder else ():
            with np.load(file) as kept:
                self._vectors.update(zip(kept["k"].tolist(), kept["v"], strict=True))

    @classmethod
    def minilm(cls, folder: Path | None) -> CachedEmbedder:
        """Return the embedded MiniLM, pulled before by `assistant models pull`."""
        return cls(Embedder.load(ROOT / "var" / "models" / "all-minilm-l6-v2"), folder)

    @property
    def digest(self) -> str:
        """The embedder's."""
        return self._embedder.digest

    @property
    def dimensions(self) -> int:
        """The embedder's."""
        return self._embedder.dimensions

    @property
    def max_tokens(self) -> int:
        """The embedder's."""
        return self._embedder.max_tokens

    def count_tokens(self, text: str) -> int:
        """Count tokens as the embedder does."""
        return self._embedder.count_tokens(text)

    def embed(self, texts: Sequence[str], proceed: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
        """Embed what was not embedded before."""
        keys = [hashlib.sha1(text.encode()).hexdigest() for text in texts]
        new = list(
            {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}.items()
        )
        for start in range(0, len(new), _PART):
            part = new[start : start + _PART]
            vectors = self._embedder.embed([text for _, text in part], proceed)
            self._vectors.update(zip([key for key, _ in part], vectors, strict=True))
            if self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = self._folder / f"{time.time_ns()}.npz"
                np.savez(file, k=np.array([key for key, _ in part]), v=vectors)
        return np.array([self._vectors[key] for key in keys], np.float32).reshape(-1, self.dimensions)
