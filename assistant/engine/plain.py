"""Any causal language model of transformers, one request's tokens at a time: correct first.

It owns the path for models that a plan cannot express (sliding windows, state-space layers, attention of
their own): transformers' forward and cache for each request, adapters by the same mixed products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from assistant.engine.lanes import Lane
from assistant.engine.mix import Sliced
from assistant.engine.mixed import Active, MixedLinear
from assistant.engine.plan import Span


class PlainNetwork:
    """One copy of the weights, entered as transformers' own `generate` enters it."""

    fused = False

    def __init__(self, model: Any, *, slots: int) -> None:  # noqa: ANN401 - untyped
        from assistant.engine.network import mix_linears

        self._model = model.eval().requires_grad_(False)
        self._active = Active()
        self._caches: dict[Lane, Any] = {}
        self.config, self.dtype, self.device = model.config, model.dtype, model.device.type
        self.products: dict[str, tuple[MixedLinear, int]] = {}
        mix_linears(self.products, model, self._active, packed=False, slots=slots)

    def run(self, spans: Sequence[Span]) -> tuple[Tensor, tuple[int, ...]]:
        """Run spans one after another; return logits [kept rows, vocabulary] and the span of each."""
        rows = [self._run(span) for span in spans]
        owners = tuple(number for number, span in enumerate(spans) for _ in range(span.keep))
        return torch.cat(rows), owners

    def forget(self, lane: Lane) -> None:
        """Drop the cache of a request that is over."""
        self._caches.pop(lane, None)

    def _run(self, span: Span) -> Tensor:
        from transformers import DynamicCache

        if span.start == 0:
            self._caches[span.lane] = DynamicCache(config=self._model.config)
        count = len(span.tokens)
        use = span.use
        self._active.mix = (Sliced(0, count, use.slot, use.rank),) if use else ()
        output = self._model(
            input_ids=torch.tensor([list(span.tokens)], device=self.device),
            past_key_values=self._caches[span.lane],
            use_cache=True,
        )
        logits: Tensor = output.logits[0, count - span.keep :]
        return logits
