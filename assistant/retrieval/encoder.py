"""The forward pass of an embedding model: rows of tokens in, pooled states out.

BERT-shaped models on a CPU run without padding: the tokens of a batch lie end to end, every product goes
over all of them at once and only attention looks at one text at a time (as in "Effective Transformer" and
FlashAttention's variable-length form). Every other model, and every model on a GPU, runs as transformers
wrote it, on padded rows. It refuses to know tokenizers, batches and threads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from assistant.retrieval.pooling import Pooling

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tokens = Sequence[Sequence[int]]
_PARTS = "model.safetensors.index.json"
_SHAPES = {"bert": 0, "roberta": 1, "xlm-roberta": 1}
"""Model types that are BERT-shaped, and how far beyond the padding's id their positions begin."""


class Encoder(Protocol):
    """A model in one dtype on one device."""

    padded: bool
    """Whether a batch costs as many tokens as its longest text, times its texts."""

    def __call__(self, tokens: Tokens) -> Tensor:
        """Return the pooled states of a batch, float32 of shape (texts, dimensions)."""
        ...


class Padded:
    """Any model of transformers, on rows padded to the longest."""

    padded = True

    def __init__(self, model: PreTrainedModel, pooling: Pooling, *, dtype: torch.dtype, device: str) -> None:
        self._model = model.eval().to(device=device, dtype=dtype)
        self._pooling, self._device = pooling, device
        self._pad = int(model.config.pad_token_id or 0)

    def __call__(self, tokens: Tokens) -> Tensor:
        """Return pooled states."""
        longest = max(len(ids) for ids in tokens)
        padded = torch.tensor([[*ids, *[self._pad] * (longest - len(ids))] for ids in tokens])
        lengths = torch.tensor([len(ids) for ids in tokens])
        mask = (torch.arange(longest)[None] < lengths[:, None]).to(self._device)
        states: Tensor = self._model(
            input_ids=padded.to(self._device), attention_mask=mask.long()
        ).last_hidden_state.float()
        if self._pooling == "cls":
            return states[:, 0].cpu()
        return ((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).cpu()


class Packed:
    """A BERT-shaped model on a CPU, without padding.

    Args:
        weights: of the model, by their names in its file.
        config: of the model.
        prepacked: whether weights are kept in oneDNN's own layout (and only so).
    """

    padded = False

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        config: Mapping[str, Any],
        pooling: Pooling,
        *,
        dtype: torch.dtype,
        prepacked: bool,
    ) -> None:
        self._pooling = pooling
        offset = _SHAPES[config["model_type"]]
        first = offset and offset + int(config["pad_token_id"])
        table = {name: weight.to(dtype) for name, weight in weights.items()}
        self._words = table["embeddings.word_embeddings.weight"]
        kinds = table["embeddings.token_type_embeddings.weight"][0]
        self._places = table["embeddings.position_embeddings.weight"][first:] + kinds
        epsilon = float(config["layer_norm_eps"])
        self._norm = _Norm(table, "embeddings.LayerNorm", epsilon)
        self._layers = [
            Layer(table, f"encoder.layer.{number}.", config["num_attention_heads"], epsilon, prepacked)
            for number in range(config["num_hidden_layers"])
        ]

    def __call__(self, tokens: Tokens) -> Tensor:
        """Return pooled states."""
        lengths = [len(ids) for ids in tokens]
        states = self._words[torch.tensor([number for ids in tokens for number in ids])]
        states += torch.cat([self._places[:length] for length in lengths])
        states = self._norm(states)
        for layer in self._layers:
            states = layer(states, lengths)
        parts = torch.split(states, lengths)
        return torch.stack([p[0] if self._pooling == "cls" else p.mean(0) for p in parts]).float()


class Layer:
    """One layer over tokens that lie end to end."""

    def __init__(
        self, table: Mapping[str, Tensor], prefix: str, heads: int, epsilon: float, prepacked: bool
    ) -> None:
        def product(*names: str) -> _Product:
            return _Product(table, [prefix + name for name in names], prepacked)

        first = table[f"{prefix}attention.output.dense.weight"]
        self.width, self.dtype = first.shape[0], first.dtype
        self._heads = heads
        self._into = product("attention.self.query", "attention.self.key", "attention.self.value")
        self._out = product("attention.output.dense")
        self._wide, self._narrow = product("intermediate.dense"), product("output.dense")
        self._first = _Norm(table, f"{prefix}attention.output.LayerNorm", epsilon)
        self._second = _Norm(table, f"{prefix}output.LayerNorm", epsilon)

    def __call__(self, states: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return the states [tokens, width] after this layer; `lengths` cuts them into texts."""
        attended = torch.cat(list(self._attended(self._into(states), lengths)))
        states = self._first(self._out(attended, added=states))
        return self._second(self._narrow(functional.gelu(self._wide(states)), added=states))

    def _attended(self, mixed: Tensor, lengths: Sequence[int]) -> Iterator[Tensor]:
        """Let every text attend to itself; neighbours of one length go together."""
        width, start = mixed.shape[1] // 3, 0
        for length, same in groupby(lengths):
            texts = len(list(same))
            part = mixed[start : start + texts * length].view(texts, length, 3, self._heads, -1)
            query, key, value = part.permute(2, 0, 3, 1, 4).unbind(0)
            found = functional.scaled_dot_product_attention(query, key, value)
            yield found.transpose(1, 2).reshape(-1, width)
            start += texts * length


class _Norm:
    def __init__(self, table: Mapping[str, Tensor], name: str, epsilon: float) -> None:
        self._weight, self._bias, self._epsilon = table[f"{name}.weight"], table[f"{name}.bias"], epsilon

    def __call__(self, states: Tensor) -> Tensor:
        return functional.layer_norm(states, self._weight.shape, self._weight, self._bias, self._epsilon)


class _Product:
    """Linear layers with the same input, side by side."""

    def __init__(self, table: Mapping[str, Tensor], names: Sequence[str], prepacked: bool) -> None:
        weight = torch.cat([table[f"{name}.weight"] for name in names])
        self._bias = torch.cat([table[f"{name}.bias"] for name in names])
        self._prepacked = prepacked
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if prepacked else weight

    def __call__(self, states: Tensor, added: Tensor | None = None) -> Tensor:
        if not self._prepacked:
            result = functional.linear(states, self._weight, self._bias)
            return result if added is None else result.add_(added)
        run = torch.ops.mkldnn._linear_pointwise
        packed: Tensor = (
            run.default(states, self._weight, self._bias, "none", [], "")
            if added is None
            else run.binary(states, added, self._weight, self._bias, "add")
        )
        return packed


def bert_shaped(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read weights and configuration of a BERT-shaped model; None if it is of another shape, or in parts."""
    from safetensors.torch import load_file

    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    same = {"hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
    other = any(config.get(key, value) != value for key, value in same.items())
    if config.get("model_type") not in _SHAPES or other or (folder / _PARTS).is_file():
        return None
    found = load_file(folder / "model.safetensors")
    words = "embeddings.word_embeddings.weight"
    prefix = next(name.removesuffix(words) for name in found if name.endswith(words))
    return {name.removeprefix(prefix): weight for name, weight in found.items()}, config
