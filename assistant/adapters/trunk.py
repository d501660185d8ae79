"""A Llama-shaped model run in two parts: frozen lower layers once, upper layers with gradients.

It owns the two savings that make training quick on a CPU, both exact: lower layers carry no LoRA, so
their output per example is computed once and kept; and the tokens all examples share (system prompt)
run once a step, with gradients, instead of once per example. It refuses other architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assistant.adapters.batches import Encoded, EncodedSet
from assistant.errors import AdapterError

SHAPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""`model_type`s whose decoder is embedding, rotary layers, norm, with nothing scaled in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """Hidden states below the trained layers: of the shared prefix [1, P, d] and of each example [T, d]."""

    prefix: Tensor
    examples: tuple[Tensor, ...]


class _SharedKeys:
    """Keys and values of the prefix, recorded in a first pass and put before each row's own in a second."""

    def __init__(self) -> None:
        self.recorded: dict[int, tuple[Tensor, Tensor]] = {}
        self.recording = True

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Take an attention layer's new keys and values [B, heads, T, head_dim]; return all it attends to."""
        if self.recording:
            self.recorded[layer] = (keys, values)
            return keys, values
        if layer not in self.recorded:
            return keys, values
        first_keys, first_values = (part.expand(len(keys), -1, -1, -1) for part in self.recorded[layer])
        return torch.cat((first_keys, keys), dim=2), torch.cat((first_values, values), dim=2)


class Trunk:
    """Embedding, layers and norm of a causal language model, cut at one layer.

    Args:
        model: the transformers model (LoRA modules may already be inside).
        cut: layers below it are frozen and carry no LoRA.
    """

    def __init__(self, model: Any, cut: int) -> None:  # noqa: ANN401 - transformers is untyped
        config = model.config
        sliding = any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ())
        if config.model_type not in SHAPES or sliding:
            raise AdapterError(
                f"Training supports {', '.join(sorted(SHAPES))} (full attention), not {config.model_type}.",
                remedy="Choose a base model of one of these, or train with PEFT elsewhere.",
            )
        self._inner = model.model
        self._cut = cut

    def lower(self, encoded: EncodedSet, size: int = 8) -> Hidden:
        """Run the frozen layers over every example, `size` at a time, shortest first."""
        kept: dict[int, Tensor] = {}
        order = sorted(range(len(encoded.examples)), key=lambda i: len(encoded.examples[i].tokens))
        device = self._inner.embed_tokens.weight.device
        with torch.no_grad():
            start = self._inner.embed_tokens(torch.tensor([encoded.prefix], dtype=torch.long, device=device))
            prefix = start
            for first in range(0, len(order), size):
                group = order[first : first + size]
                rows = _pad([encoded.examples[i].tokens for i in group]).to(device)
                prefix, hidden = self._run(0, self._cut, start, self._inner.embed_tokens(rows))
                for row, position in enumerate(group):
                    kept[position] = hidden[row, : len(encoded.examples[position].tokens)].clone()
        return Hidden(prefix=prefix, examples=tuple(kept[i] for i in range(len(kept))))

    def upper(self, prefix: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """Run the trained layers and the norm over rows [T, d] of any lengths; returns [B, longest, d]."""
        padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        _, hidden = self._run(self._cut, len(self._inner.layers), prefix, padded)
        normed: Tensor = self._inner.norm(hidden)
        return normed

    def _run(self, first: int, last: int, prefix: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        shared = _SharedKeys()
        length, width = prefix.shape[1], rows.shape[1]
        if length:
            prefix = self._layers(first, last, prefix, 0, None, shared)
        shared.recording = False
        ones = torch.ones(width, length + width, dtype=torch.bool, device=rows.device)
        mask = ones.tril(length)[None, None]
        return prefix, self._layers(first, last, rows, length, mask, shared)

    def _layers(
        self, first: int, last: int, hidden: Tensor, start: int, mask: Tensor | None, shared: _SharedKeys
    ) -> Tensor:
        positions = torch.arange(start, start + hidden.shape[1], device=hidden.device)[None]
        rotary = self._inner.rotary_emb(hidden, position_ids=positions)
        for layer in self._inner.layers[first:last]:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=shared,
                position_embeddings=rotary,
            )
        return hidden


def answer_loss(hidden: Tensor, examples: Sequence[Encoded], head: torch.nn.Module) -> Tensor:
    """Mean cross-entropy of the answers' tokens; the head runs at those positions only.

    Args:
        hidden: [B, longest, d], right-padded.
        head: d -> vocabulary.
    """
    states: list[Tensor] = []
    targets: list[int] = []
    for row, example in enumerate(examples):
        length = len(example.tokens)
        states.append(hidden[row, length - example.answer - 1 : length - 1])
        targets.extend(example.tokens[length - example.answer :])
    logits = head(torch.cat(states)).float()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets, device=logits.device))


def _pad(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
