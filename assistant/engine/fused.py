"""Decoder layers of Llama's shape (Llama, Qwen, Mistral, SmolLM), with fewer and larger products.

It owns one layer's computation over a plan: query, key and value in one product, gate and up in another,
keys and values straight into the arena, and in the last layer only the rows that get logits. It takes the
weights of transformers' own layer and its place in the model; it refuses layers of another shape.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, rms_norm, silu

from assistant.engine.attention import Pass, attend
from assistant.engine.mixed import Active, MixedLinear
from assistant.engine.product import product_of

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm")
_HEAD_NORMS = ("q_norm", "k_norm")


def is_llama_shaped(layer: nn.Module, config: Any) -> bool:  # noqa: ANN401 - transformers is untyped
    """Whether a decoder layer holds just the parts that this file computes."""
    attention, mlp = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
    children = {name for name, _ in layer.named_children()}
    if children != {"self_attn", "mlp", *_NORMS} or not all(_is_norm(getattr(layer, n)) for n in _NORMS):
        return False
    if getattr(config, "hidden_act", "") != "silu":
        return False
    heads = {name for name, _ in attention.named_children()} if attention else set()
    if heads - set(_HEAD_NORMS) - {"rotary_fn"} != set(_ATTENTION):
        return False
    linear = [getattr(attention, n) for n in _ATTENTION] + [getattr(mlp, n, None) for n in _MLP]
    return all(type(part) is nn.Linear for part in linear)


def _is_norm(part: nn.Module) -> bool:
    return type(part).__name__.endswith("RMSNorm") and hasattr(part, "variance_epsilon")


class FusedLayer(nn.Module):
    """Takes the place of a decoder layer and its weights.

    Args:
        layer: transformers' own.
        number: of the layer.
        last: whether only rows with logits leave it.
    """

    def __init__(
        self,
        layer: Any,  # noqa: ANN401 - transformers is untyped
        number: int,
        *,
        last: bool,
        active: Active,
        slots: int,
        packed: bool,  # noqa: ANN401
    ) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self._number, self._last, self._active = number, last, active
        self._head_dim, self._scale = int(attention.head_dim), float(attention.scaling)
        self._norms = [_Norm(getattr(layer, name)) for name in _NORMS]
        self._head_norms = [_Norm(getattr(attention, n)) for n in _HEAD_NORMS if hasattr(attention, n)]
        # in a tuple, not as submodules: looking those up is slow among products that flush the caches
        self._products = tuple(
            MixedLinear(product_of([getattr(home, name) for name in names], packed=packed), active, slots)
            for home, names in (
                (attention, _ATTENTION[:3]), (attention, _ATTENTION[3:]), (mlp, _MLP[:2]), (mlp, _MLP[2:])
            )
        )  # fmt: skip
        self._query = attention.q_proj.out_features // self._head_dim
        self._keys = attention.k_proj.out_features // self._head_dim
        self._inner = mlp.gate_proj.out_features

    def parts(self) -> dict[str, tuple[MixedLinear, int]]:
        """Return the product that holds each of transformers' linear layers, by name, and its place there."""
        qkv, o, gate_up, down = self._products
        held = (qkv, _ATTENTION[:3]), (o, _ATTENTION[3:])
        mlp = (gate_up, _MLP[:2]), (down, _MLP[2:])
        return {
            f"{home}.{name}": (product, place)
            for home, products in (("self_attn", held), ("mlp", mlp))
            for product, names in products
            for place, name in enumerate(names)
        }

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], now: Pass, **unused: object
    ) -> Tensor:
        """Return [1, rows, hidden]; of the last layer, the rows that get logits."""
        qkv, o, gate_up, down = self._products
        x, reads = hidden_states[0], now.reads
        query = self._remember(qkv.run(self._norms[0](x)), position_embeddings, now)
        if self._last and now.last is not reads:
            if not now.plan.owners:
                return hidden_states[:, :0]
            x, query, reads = x[now.plan.keep], query[now.plan.keep], now.last
            self._active.mix = reads.view.mix
        x = o.run(attend(query, self._number, reads, self._scale), added=x)
        both = gate_up.run(self._norms[1](x))
        gate, up = both.narrow(1, 0, self._inner), both.narrow(1, self._inner, self._inner)
        return down.run(silu(gate).mul_(up), added=x)[None]

    def _remember(self, projected: Tensor, rotation: tuple[Tensor, Tensor], now: Pass) -> Tensor:
        """Write keys and values of `projected` [rows, out]; return its queries [rows, heads, head_dim]."""
        queries, keys = self._query, self._keys
        heads = projected.view(projected.shape[0], -1, self._head_dim)
        turned = heads.narrow(1, 0, queries + keys)
        if self._head_norms:
            parts = turned.split_with_sizes([queries, keys], 1)
            turned = torch.cat([norm(part) for norm, part in zip(self._head_norms, parts, strict=True)], 1)
        turned = rotate(turned, rotation)
        now.write(self._number, turned.narrow(1, queries, keys), heads.narrow(1, queries + keys, keys))
        return turned.narrow(1, 0, queries)


class Rotation(nn.Module):
    """transformers' rotary embedding, in the form that `rotate` takes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._inner = inner

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return cos and sin [rows, 1, head_dim] of positions [1, rows]; the left half of sin is negative."""
        cos, sin = (part[0, :, None] for part in self._inner(x, position_ids=position_ids))
        left, right = sin.chunk(2, dim=2)
        return cos, torch.cat((-left, right), dim=2)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn `x` [rows, heads, head_dim] by its position (Su et al. 2021), halves apart as in Llama."""
    cos, sin = rotation
    return torch.addcmul(x * cos, x.roll(x.shape[2] // 2, 2), sin)


class _Norm:
    """Root mean square norm over the last dimension (Zhang & Sennrich 2019)."""

    def __init__(self, part: Any) -> None:  # noqa: ANN401 - transformers is untyped
        self._weight, self._epsilon = part.weight.detach(), float(part.variance_epsilon)
        self._mirrored = torch.cat((self._weight, self._weight))
        self._signs = self._weight.new_tensor([[1.0], [-1.0]])

    def __call__(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        if x.shape[0] != 1 or x.dim() > 2:
            return rms_norm(x, (size,), self._weight, self._epsilon)
        # The norm of x beside -x has mean 0, so the usual layer norm gives the same in a third of the
        # kernels: among products whose weights flush the caches, each kernel of one row costs as much.
        both = (self._signs * x).view(1, -1)
        return layer_norm(both, (2 * size,), self._mirrored, None, self._epsilon).narrow(1, 0, size)
