"""Texts -> unit vectors with a pinned embedding model, in the way this machine runs fastest.

It owns tokenization, batching and normalisation; `encoder` runs the model and `embedding_speed` finds out
how. The weights, and torch with them, are loaded when something is first embedded: an ingest that finds
nothing new needs neither. It refuses models whose pooling it does not know, and never reaches for a network.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from assistant.errors import ModelError
from assistant.models.digests import model_digest
from assistant.retrieval.pooling import longest, pooling

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from assistant.retrieval.embedding_speed import Dtype, Speed
    from assistant.retrieval.encoder import Encoder
    from assistant.retrieval.workers import Workers

_GPU_BATCH_TOKENS = 32_768
_CHARACTERS_PER_TOKEN = 32


class Embedder:
    """An embedding model in this process. `dimensions` and `max_tokens` are the model's own.

    Args:
        model: loads the model and says in which way it is fastest; called once, when first needed.
    """

    def __init__(
        self,
        *,
        model: Callable[[], tuple[Encoder, Speed]],
        tokenizer: Tokenizer,
        dimensions: int,
        longest: int,
        digest: str,
    ) -> None:
        self._load, self._tokenizer, self._longest = model, tokenizer, longest
        self._loaded: tuple[Encoder, Speed] | None = None
        self._workers: Workers | None = None
        self._lock = threading.RLock()
        self.digest = digest
        self.dimensions = dimensions
        self.max_tokens = longest - len(tokenizer.encode("").ids)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        threads: int | None = None,
        device: str = "auto",
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        max_tokens: int | None = None,
        remembered: Path | None = None,
    ) -> Embedder:
        """Open and check a model folder; `auto` picks a GPU where there is one, and the faster dtype.

        Args:
            max_tokens: longest input with special tokens; default: what the model was trained for.
            remembered: file that keeps what is fastest on this machine; None measures at every load.

        Raises:
            ModelError: files are missing or damaged, or the pooling is of a kind not known here.
        """
        from tokenizers import Tokenizer

        def model() -> tuple[Encoder, Speed]:
            with _usable(folder):
                return _encoder(folder, threads, device, dtype, remembered)

        with _usable(folder):
            limit = max_tokens or longest(folder)
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            identity = f"{model_digest(folder)}:{pooling(folder)}:{limit}"
            dimensions = _dimensions(folder)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(
            model=model,
            tokenizer=tokenizer,
            dimensions=dimensions,
            longest=limit,
            digest=hashlib.sha256(identity.encode()).hexdigest(),
        )

    @cached_property
    def speed(self) -> Speed:
        """The way in which it embeds on this machine."""
        return self._model()[1]

    @property
    def dtype(self) -> str:
        """The dtype in use, such as `float32`."""
        return self.speed.dtype

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text`, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str], proceed: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
        """Embed texts as unit vectors, shape (texts, dimensions); what exceeds `max_tokens` is cut.

        Safe in several threads: they share the workers.

        Args:
            proceed: called before every batch; what it raises ends the call, within a fraction of a second.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        if not texts:
            return vectors
        tokens = [self._encode(text) for text in texts]
        batches = list(self._batches(tokens))

        def forward(rows: list[int]) -> NDArray[np.float32]:
            proceed()
            return self._forward([tokens[row] for row in rows])

        alone = self.speed.workers == 1
        parts = map(forward, batches) if alone else self._pool().map(forward, batches)
        for rows, found in zip(batches, parts, strict=True):
            vectors[rows] = found
        return vectors

    def _model(self) -> tuple[Encoder, Speed]:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _pool(self) -> Workers:
        from assistant.retrieval.workers import Workers

        with self._lock:
            if self._workers is None:
                self._workers = Workers(self.speed.workers)
            return self._workers

    def _encode(self, text: str) -> list[int]:
        """Token ids with special tokens; a text too long loses its end, not the closing token."""
        ids: list[int] = self._tokenizer.encode(text[: self._longest * _CHARACTERS_PER_TOKEN]).ids
        return ids if len(ids) <= self._longest else [*ids[: self._longest - 1], ids[-1]]

    def _batches(self, tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Rows of similar length, the longest first, within a budget of tokens.

        The budget is smaller where otherwise some workers would have nothing to do.
        """
        padded = self._model()[0].padded
        share = -(-sum(map(len, tokens)) // self.speed.workers)
        budget = min(self.speed.batch_tokens, max(share, 1))
        batch: list[int] = []
        size = 0
        for row in sorted(range(len(tokens)), key=lambda row: -len(tokens[row])):
            size += len(tokens[batch[0]]) if batch and padded else len(tokens[row])
            if batch and size > budget:
                yield batch
                batch, size = [], len(tokens[row])
            batch.append(row)
        if batch:
            yield batch

    def _forward(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import torch

        encoder, _ = self._model()
        with torch.inference_mode():
            unit: NDArray[np.float32] = torch.nn.functional.normalize(encoder(tokens), dim=1).numpy()
        return unit


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
        raise ModelError(
            f"{folder} holds no usable embedding model: {error}", remedy="Run `assistant models verify`."
        ) from error


def _dimensions(folder: Path) -> int:
    """Return how long vectors are, and look whether the weights are whole, without loading them."""
    from safetensors import safe_open

    files = list(folder.glob("*.safetensors"))
    if not files:
        raise ModelError("it holds no model weights.")
    for file in files:
        with safe_open(file, "numpy"):
            pass
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])


def _encoder(
    folder: Path,
    threads: int | None,
    device: str,
    dtype: Literal["auto", "float32", "bfloat16"],
    remembered: Path | None,
) -> tuple[Encoder, Speed]:
    """Return the model in the way that is fastest here, and that way."""
    import torch

    from assistant.retrieval.embedding_speed import Shape, Speed, fastest
    from assistant.retrieval.encoder import Packed, Padded, bert_shaped

    if threads is not None:
        torch.set_num_threads(threads)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16") if dtype == "auto" else (dtype,)
    found = bert_shaped(folder) if device == "cpu" else None
    if found is None:
        from transformers import AutoModel
        from transformers.utils import logging

        logging.disable_progress_bar()
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        config = model.config.to_dict()
    else:
        weights, config = found
    if device == "cpu":
        shape = Shape(
            width=config["hidden_size"],
            inner=config["intermediate_size"],
            heads=config["num_attention_heads"],
            threads=torch.get_num_threads(),
        )
        speed = fastest(shape, remembered, dtypes=dtypes)
    else:
        fast: Dtype = dtypes[-1] if device.startswith("cuda") else dtypes[0]
        speed = Speed(dtype=fast, batch_tokens=_GPU_BATCH_TOKENS)
    kind: torch.dtype = getattr(torch, speed.dtype)
    encoder: Encoder
    if found is None:
        encoder = Padded(model, pooling(folder), dtype=kind, device=device)
    else:
        encoder = Packed(weights, config, pooling(folder), dtype=kind, prepacked=speed.prepacked)
    return encoder, speed
