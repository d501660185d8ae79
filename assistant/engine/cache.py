"""Key-value storage of one request, grown in blocks.

It owns where keys and values lie; transformers' own dynamic cache copies all of them at every token.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_BLOCK_TOKENS = 256


class _BlockLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """Keys and values [1, heads, T, head_dim] of one layer, as views of buffers with room to grow."""

    def __init__(self) -> None:
        super().__init__()
        self._length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make the first, empty buffers."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._room = (key_states[:, :, :0], value_states[:, :, :0])
        self.keys, self.values = self._room
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self._length + key_states.shape[2]
        if end > self._room[0].shape[2]:
            keys, values = self._room
            self._room = (self._grown(keys, end), self._grown(values, end))
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, self._length : end] = new
        self._length = end
        self.keys, self.values = (room[:, :, :end] for room in self._room)
        return self.keys, self.values

    def _grown(self, part: Tensor, end: int) -> Tensor:
        length = -(-end // _BLOCK_TOKENS) * _BLOCK_TOKENS
        grown = part.new_empty(*part.shape[:2], length, part.shape[3])
        grown[:, :, : self._length] = part[:, :, : self._length]
        return grown


def new_cache(config: Any) -> Cache:  # noqa: ANN401 - transformers is untyped
    """Return an empty cache for one request; models with sliding or linear layers get transformers' own."""
    from transformers.cache_utils import DynamicCache

    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if kinds:
        return DynamicCache(config=config)
    return Cache(layers=[_BlockLayer() for _ in range(config.num_hidden_layers)])
