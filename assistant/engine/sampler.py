"""Logits -> the next token of one request.

It owns greedy choice, temperature, top-k, top-p (Holtzman et al. 2020), repetition penalty (Keskar et al.
2019: over prompt and completion) and the request's own random state; it refuses to see other requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assistant.engine.base import Sampling


class Sampler:
    """Draws the tokens of one request. Equal seeds draw equal tokens from equal logits."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], device: str = "cpu") -> None:
        self._sampling = sampling
        self._generator = torch.Generator(device=device)
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)
        self._seen: Tensor | None = None
        if sampling.repetition_penalty != 1.0:
            self._seen = torch.tensor(sorted(set(prompt)), dtype=torch.long, device=device)

    def __call__(self, logits: Tensor) -> int:
        """Draw from logits [vocabulary]."""
        logits = logits.float()
        if self._seen is not None:
            logits = self._penalised(logits, self._seen)
        token = int(logits.argmax()) if self._sampling.temperature == 0 else self._draw(logits)
        if self._seen is not None:
            self._seen = torch.unique(torch.cat((self._seen, self._seen.new_tensor([token]))))
        return token

    def _penalised(self, logits: Tensor, seen: Tensor) -> Tensor:
        penalty = self._sampling.repetition_penalty
        scores = logits[seen]
        return logits.index_copy(0, seen, torch.where(scores > 0, scores / penalty, scores * penalty))

    def _draw(self, logits: Tensor) -> int:
        """Temperature, then the k likeliest, then the smallest set that holds `top_p` of what is left."""
        logits = logits / self._sampling.temperature
        size = len(logits) if self._sampling.top_k == 0 else min(self._sampling.top_k, len(logits))
        values, order = logits.topk(size)
        shares = values.softmax(0)
        if self._sampling.top_p < 1.0:
            kept = shares.cumsum(0) - shares < self._sampling.top_p
            kept[0] = True
            shares = torch.where(kept, shares, 0.0)
        return int(order[torch.multinomial(shares, 1, generator=self._generator)])
