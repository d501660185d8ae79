"""Texts -> unit vectors with a pinned embedding model, in the dtype this machine runs fastest.

It owns tokenization, batching, pooling (read from the sentence-transformers files beside the weights)
and normalisation. It refuses models whose pooling it does not know, and never reaches for a network.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from assistant.errors import ModelError
from assistant.models.digests import model_digest

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

Pooling = Literal["mean", "cls"]
_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_CPU_BATCH_TOKENS = 1024
_GPU_BATCH_TOKENS = 32_768
_FASTER_BY = 1.3
_CHARACTERS_PER_TOKEN = 32


class Embedder:
    """An embedding model in this process. `dimensions` and `max_tokens` are the model's own."""

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        pooling: Pooling,
        longest: int,
        digest: str,
        device: str,
    ) -> None:
        self._model, self._tokenizer, self._pooling, self._device = model, tokenizer, pooling, device
        self._longest = longest
        self._batch_tokens = _CPU_BATCH_TOKENS if device == "cpu" else _GPU_BATCH_TOKENS
        self._pad = int(model.config.pad_token_id or 0)
        self.digest = digest
        self.dimensions = int(model.config.hidden_size)
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
    ) -> Embedder:
        """Load a model folder; `auto` picks a GPU where there is one, and the faster dtype.

        Args:
            max_tokens: longest input with special tokens; default: what the model was trained for.

        Raises:
            ModelError: files are missing or damaged, or the pooling is of a kind not known here.
        """
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel
        from transformers.utils import logging

        if threads is not None:
            torch.set_num_threads(threads)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        try:
            pooling, longest = _pooling(folder), max_tokens or _longest(folder)
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            logging.disable_progress_bar()
            model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
            raise ModelError(
                f"{folder} holds no usable embedding model: {error}", remedy="Run `assistant models verify`."
            ) from error
        picked = _faster_dtype(model.config.hidden_size, device) if dtype == "auto" else getattr(torch, dtype)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        identity = f"{model_digest(folder)}:{pooling}:{longest}"
        return cls(
            model=model.eval().to(device=device, dtype=picked),
            tokenizer=tokenizer,
            pooling=pooling,
            longest=longest,
            digest=hashlib.sha256(identity.encode()).hexdigest(),
            device=device,
        )

    @property
    def dtype(self) -> str:
        """The dtype in use, such as `float32`."""
        return str(self._model.dtype).removeprefix("torch.")

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text`, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts as unit vectors, shape (texts, dimensions); what exceeds `max_tokens` is cut."""
        import torch

        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        tokens = [self._encode(text) for text in texts]
        with torch.inference_mode():
            for rows in self._batches(tokens):
                vectors[rows] = self._forward([tokens[row] for row in rows])
        return vectors

    def _encode(self, text: str) -> list[int]:
        """Token ids with special tokens; a text too long loses its end, not the closing token."""
        ids: list[int] = self._tokenizer.encode(text[: self._longest * _CHARACTERS_PER_TOKEN]).ids
        return ids if len(ids) <= self._longest else [*ids[: self._longest - 1], ids[-1]]

    def _batches(self, tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Rows of similar length, so that little is padded, within a budget of tokens."""
        batch: list[int] = []
        for row in sorted(range(len(tokens)), key=lambda row: len(tokens[row])):
            if batch and (len(batch) + 1) * len(tokens[row]) > self._batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _forward(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import torch

        longest = max(len(ids) for ids in tokens)
        padded = torch.tensor([[*ids, *[self._pad] * (longest - len(ids))] for ids in tokens])
        lengths = torch.tensor([len(ids) for ids in tokens])
        mask = (torch.arange(longest)[None] < lengths[:, None]).to(self._device)
        states: torch.Tensor = self._model(
            input_ids=padded.to(self._device), attention_mask=mask.long()
        ).last_hidden_state.float()
        if self._pooling == "cls":
            pooled = states[:, 0]
        else:
            pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        unit: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return unit


def _pooling(folder: Path) -> Pooling:
    """Read the pooling from `modules.json` and `1_Pooling/config.json`; without them it is the mean."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return "mean"
    listed = json.loads(modules.read_text(encoding="utf-8"))
    kinds = {module["type"].rsplit(".", 1)[-1]: module["path"] for module in listed}
    if unknown := set(kinds) - _MODULES:
        raise ModelError(f"it needs {', '.join(sorted(unknown))}, which is not supported here.")
    if "Pooling" not in kinds:
        return "mean"
    config = json.loads((folder / kinds["Pooling"] / "config.json").read_text(encoding="utf-8"))
    prefix = "pooling_mode_"
    chosen = {key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value}
    chosen = chosen or {f"{config.get('pooling_mode', 'mean')}"}
    if chosen <= {"mean_tokens", "mean"}:
        return "mean"
    if chosen <= {"cls_token", "cls"}:
        return "cls"
    raise ModelError(f"its pooling is {', '.join(sorted(chosen))}; mean and cls are supported here.")


def _longest(folder: Path) -> int:
    """Longest input in tokens that the model was trained for."""
    file = folder / "sentence_bert_config.json"
    if file.is_file():
        longest = json.loads(file.read_text(encoding="utf-8")).get("max_seq_length")
        if longest:
            return int(longest)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config["max_position_embeddings"])


def _faster_dtype(hidden: int, device: str) -> torch.dtype:
    """Time the model's largest product in float32 and bfloat16; about 50 ms."""
    import torch

    if device != "cpu":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    seconds = {dtype: _product_s(hidden, dtype) for dtype in (torch.float32, torch.bfloat16)}
    faster = seconds[torch.bfloat16] * _FASTER_BY < seconds[torch.float32]
    return torch.bfloat16 if faster else torch.float32


def _product_s(hidden: int, dtype: torch.dtype) -> float:
    """Best of a few timings: the least disturbed one."""
    import torch

    states, weights = torch.ones(256, hidden, dtype=dtype), torch.ones(4 * hidden, hidden, dtype=dtype)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(6):
            start = time.perf_counter()
            torch.nn.functional.linear(states, weights)
            best = min(best, time.perf_counter() - start)
    return best
