"""A causal language model of transformers, made to run plans: many requests, many adapters, one pass.

It owns how the model is entered: one of Llama's shape is computed by a fused decoder, others by their own
forward with an attention function of ours, by transformers' `AttentionInterface`; each linear layer that an
adapter may target becomes a mixed one. It refuses models whose attention a plan cannot express: those
run on the plain path (`plain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from assistant.engine.attention import Pass, attend
from assistant.engine.cache import KeyValues, Shape
from assistant.engine.fused import FusedDecoder, is_llama_shaped
from assistant.engine.kernels import Kernels
from assistant.engine.lanes import Lane, size_for
from assistant.engine.mixed import Active, MixedLinear
from assistant.engine.plan import Compiled, Plan, Span, plan
from assistant.engine.product import product_of

ATTENTION = "assistant_lanes"


class Network:
    """One copy of the weights.

    Args:
        model: a causal language model of transformers, on its device and in its dtype. It is taken over.
        packed: whether weights are kept in oneDNN's layout.
        slots: how many adapters can be resident.
        kernels: of the model's dtype, or None: PyTorch's operators alone.
        copies: whether they may keep weights a second time, for few rows.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - untyped
        *,
        packed: bool,
        slots: int,
        kernels: Kernels | None = None,
        copies: bool = True,
    ) -> None:
        self._model = model.eval().requires_grad_(False)
        self.kernels = kernels
        self._active = Active(kernels=kernels)
        self.config, self.dtype, self.device = model.config, model.dtype, model.device.type
        shape = cache_shape(model.config, self.dtype, self.device)
        self._groups = model.config.num_attention_heads // shape.heads
        self._block = kernels.block(self._groups, shape.head_dim) if kernels else None
        self.supported = bool(getattr(model, "_supports_attention_backend", False))
        self.products: dict[str, tuple[MixedLinear, int]] = {}
        self._decoder: FusedDecoder | None = None
        if is_llama_shaped(model):
            few = kernels if copies else None
            self._decoder = FusedDecoder(model, self._active, slots=slots, packed=packed, few=few)
            self.products = self._decoder.parts()
        else:
            mix_linears(self.products, model, self._active, packed=packed, slots=slots)
            use_attention(model)

    @property
    def fused(self) -> bool:
        """Whether the model is of the shape that is computed without its own forward."""
        return self._decoder is not None

    @property
    def narrow(self) -> bool:
        """Whether a few rows read weights in bfloat16."""
        return any(product.narrow for product, _ in self.products.values())

    def lay_out(self, spans: Sequence[Span], cache: KeyValues) -> Plan:
        """Plan spans for this network; attention is compiled where the cache holds what it computes in."""
        block = self._block if cache.shape.dtype == self.dtype else None
        return plan(spans, self.device, Compiled(block) if self.kernels else None)

    def run(self, plan: Plan, cache: KeyValues) -> Tensor:
        """Run a plan; return logits [kept rows, vocabulary]."""
        self._active.mix = plan.view.mix
        now = Pass(plan, cache, self._groups, self.kernels)
        if self._decoder:
            return self._decoder(now)
        output = self._model(
            input_ids=plan.tokens[None],
            position_ids=plan.positions[None],
            use_cache=False,
            now=now,
            logits_to_keep=plan.keep,
        )
        logits: Tensor = output.logits[0]
        return logits


def cache_shape(config: Any, dtype: torch.dtype, device: str) -> Shape:  # noqa: ANN401 - untyped
    """Return what one token of this model takes in the cache."""
    heads = config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        dtype=dtype,
        device=device,
    )


def reads_everything(config: Any) -> bool:  # noqa: ANN401 - untyped
    """Whether every layer attends to every earlier token, as a plan does."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return set(kinds) == {"full_attention"}
    return not getattr(config, "sliding_window", None)


def agrees(network: Network, tokens: Sequence[int], wanted: Tensor) -> bool:
    """Whether a network, given tokens in pieces, gives the logits [tokens, vocabulary] of one forward."""
    if not network.supported:
        return False
    shape = cache_shape(network.config, network.dtype, network.device)
    cache = KeyValues(shape, size_for(len(tokens)), len(tokens))
    lane, given = Lane(0, cache.lanes.total), []
    pieces = (0, len(tokens) // 2), (len(tokens) // 2, len(tokens) - 1), (len(tokens) - 1, len(tokens))
    for start, stop in pieces:
        span = Span(lane=lane, start=start, tokens=tokens[start:stop], keep=stop - start)
        given.append(network.run(network.lay_out([span], cache), cache).float())
    gap = (torch.cat(given) - wanted).abs().mean() / wanted.abs().mean()
    return bool(gap < (1e-3 if network.dtype == torch.float32 else 5e-2))


def use_attention(model: Any) -> None:  # noqa: ANN401 - untyped
    """Make transformers call our attention. No mask function is registered under its name: none is built."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attention)
    model.set_attn_implementation(ATTENTION)


def _attention(
    module: Any,  # noqa: ANN401 - untyped
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    now: Pass,
    **unused: object,
) -> tuple[Tensor, None]:
    """Attention of a layer that is not fused; query [1, heads, rows, head_dim]."""
    now.write(module.layer_idx, key[0].transpose(0, 1), value[0].transpose(0, 1))
    rows = query[0].transpose(0, 1).contiguous()
    return attend(rows, module.layer_idx, now.reads, scaling, now.compiled).view(1, *rows.shape), None


def mix_linears(
    products: dict[str, tuple[MixedLinear, int]],
    model: Any,  # noqa: ANN401 - untyped
    active: Active,
    *,
    packed: bool,
    slots: int,  # noqa: ANN401
) -> None:
    """Make every other linear layer but the output layer a mixed one."""
    output = model.get_output_embeddings()
    found = [
        (name, part) for name, part in model.named_modules() if type(part) is nn.Linear and part is not output
    ]
    for name, part in found:
        mixed = MixedLinear(product_of([part], packed=packed), active, slots)
        model.set_submodule(name, mixed)
        products[name] = (mixed, 0)
