"""Decoders of Llama's shape (Llama, Qwen, Mistral, SmolLM), with fewer and larger products.

It owns their computation over a plan: query, key and value in one product, gate and up in another, keys and
values straight into the arena, and in the last layer only the rows that get logits. It takes the weights out
of transformers' own model; it refuses models of another shape.

A row alone computes for 10 to 100 µs at a time and then waits for weights that flush the caches, so every
kernel and every step of Python that a layer does not take counts: a tenth of the time in all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu

from assistant.engine.attention import Pass, attend
from assistant.engine.kernels import Kernels
from assistant.engine.mixed import Active, MixedLinear
from assistant.engine.product import product_of

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm")
_HEAD_NORMS = ("q_norm", "k_norm")


class FusedDecoder:
    """The whole model as one function of a plan.

    Args:
        model: a causal language model that `is_llama_shaped`. Its layers and output layer are taken over:
            it is left without layers.
        active: where the mix of the running step stands.
        slots: how many adapters can be resident.
        packed: whether weights are kept in oneDNN's layout.
        few: what computes products of few rows, if they are computed in another way.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - transformers is untyped
        active: Active,
        *,
        slots: int,
        packed: bool,
        few: Kernels | None = None,
    ) -> None:
        inner = model.model
        self._embed, self._rotary = inner.embed_tokens, inner.rotary_emb
        self._norm = _Norm(inner.norm, active.kernels)
        last = len(inner.layers) - 1
        self._layers = [
            FusedLayer(layer, number, last=number == last, active=active, slots=slots, packed=packed, few=few)
            for number, layer in enumerate(inner.layers)
        ]
        self._head = product_of([model.lm_head], packed=packed, few=few)
        inner.layers = nn.ModuleList()

    def parts(self) -> dict[str, tuple[MixedLinear, int]]:
        """Return the product that holds each of transformers' linear layers, by name, and its place there."""
        return {
            f"model.layers.{number}.{name}": part
            for number, layer in enumerate(self._layers)
            for name, part in layer.parts().items()
        }

    def __call__(self, now: Pass) -> Tensor:
        """Return logits [kept rows, vocabulary]."""
        plan = now.plan
        x = self._embed(plan.tokens)
        rotation = rotated(*self._rotary(x, position_ids=plan.positions[None]))
        for layer in self._layers:
            x = layer(x, rotation, now)
        return self._head(self._norm(x)) if plan.owners else x.new_empty(0, *self._head.outs)


def is_llama_shaped(model: Any) -> bool:  # noqa: ANN401 - transformers is untyped
    """Whether a model holds just the parts that are computed here; logits tell whether they do just that."""
    inner = getattr(model, "model", None)
    if type(getattr(model, "lm_head", None)) is not nn.Linear or inner is None:
        return False
    children = {name for name, _ in inner.named_children()}
    if children != {"embed_tokens", "layers", "norm", "rotary_emb"} or not _is_norm(inner.norm):
        return False
    return getattr(model.config, "hidden_act", "") == "silu" and all(map(_is_layer, inner.layers))


def _is_layer(layer: nn.Module) -> bool:
    attention, mlp = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
    children = {name for name, _ in layer.named_children()}
    if children != {"self_attn", "mlp", *_NORMS} or not all(_is_norm(getattr(layer, n)) for n in _NORMS):
        return False
    heads = {name for name, _ in attention.named_children()} if attention else set()
    if heads - set(_HEAD_NORMS) - {"rotary_fn"} != set(_ATTENTION):
        return False
    linear = [getattr(attention, n) for n in _ATTENTION] + [getattr(mlp, n, None) for n in _MLP]
    return all(type(part) is nn.Linear for part in linear)


def _is_norm(part: nn.Module) -> bool:
    return type(part).__name__.endswith("RMSNorm") and hasattr(part, "variance_epsilon")


class FusedLayer:
    """One decoder layer, with the weights of transformers' own.

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
        packed: bool,
        few: Kernels | None,
    ) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._number, self._last, self._active, self._kernels = number, last, active, active.kernels
        self._head_dim, self._scale = int(attention.head_dim), float(attention.scaling)
        self._norms = [_Norm(getattr(layer, name), self._kernels) for name in _NORMS]
        self._head_norms = [_Norm(getattr(attention, n)) for n in _HEAD_NORMS if hasattr(attention, n)]
        self._products = tuple(
            MixedLinear(
                product_of([getattr(home, name) for name in names], packed=packed, few=few), active, slots
            )
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

    def __call__(self, x: Tensor, rotation: tuple[Tensor, Tensor], now: Pass) -> Tensor:
        """Return [rows, hidden] for `x` [rows, hidden]; of the last layer, the rows that get logits."""
        qkv, o, gate_up, down = self._products
        reads = now.reads
        query = self._remember(qkv.run(self._norms[0](x)), rotation, now)
        if self._last and now.last is not reads:
            if not now.plan.owners:
                return x[:0]
            x, query, reads = x[now.plan.keep], query[now.plan.keep], now.last
            self._active.mix = reads.view.mix
        x = o.run(attend(query, self._number, reads, self._scale, now.compiled), added=x)
        both = gate_up.run(self._norms[1](x))
        if self._kernels:
            return down.run(self._kernels.gate(both), added=x)
        gate, up = both.narrow(1, 0, self._inner), both.narrow(1, self._inner, self._inner)
        return down.run(silu(gate).mul_(up), added=x)

    def _remember(self, projected: Tensor, rotation: tuple[Tensor, Tensor], now: Pass) -> Tensor:
        """Write keys and values of `projected` [rows, out]; return its queries [rows, heads, head_dim]."""
        queries, keys = self._query, self._keys
        heads = projected.view(projected.shape[0], -1, self._head_dim)
        if now.compiled:
            return now.compiled.remember(heads, rotation, self._head_norms, *now.places(self._number))
        turned = heads.narrow(1, 0, queries + keys)
        if self._head_norms:
            parts = turned.split_with_sizes([queries, keys], 1)
            turned = torch.cat([norm(part) for norm, part in zip(self._head_norms, parts, strict=True)], 1)
        turned = rotate(turned, rotation)
        now.write(self._number, turned.narrow(1, queries, keys), heads.narrow(1, queries + keys, keys))
        return turned.narrow(1, 0, queries)


def rotated(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Return transformers' [1, rows, head_dim] as `rotate` takes them: the left half of sin is negative."""
    left, right = sin[0, :, None].chunk(2, dim=2)
    return cos[0, :, None], torch.cat((-left, right), dim=2)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn `x` [rows, heads, head_dim] by its position (Su et al. 2021), halves apart as in Llama."""
    cos, sin = rotation
    return torch.addcmul(x * cos, x.roll(x.shape[2] // 2, 2), sin)


class _Norm:
    """Root mean square norm over the last dimension (Zhang & Sennrich 2019)."""

    def __init__(self, part: Any, kernels: Kernels | None = None) -> None:  # noqa: ANN401 - untyped
        self.weight, self.epsilon, self._kernels = part.weight.detach(), float(part.variance_epsilon), kernels
        self._zero = self.weight.new_zeros(())

    def __call__(self, x: Tensor) -> Tensor:
        if self._kernels:
            return self._kernels.norm(x, self.weight, self.epsilon)
        size = x.shape[-1]
        if x.shape[0] != 1 or x.dim() > 2 or not x.is_cpu:
            return rms_norm(x, (size,), self.weight, self.epsilon)
        row = x.view(size).float()  # two kernels, where PyTorch's own takes five on a CPU
        scale = (float(row.dot(row)) / size + self.epsilon) ** -0.5
        return torch.addcmul(self._zero, x, self.weight, value=scale)
