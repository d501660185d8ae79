"""How an adapter is trained: every number that changes its weights, and nothing else.

The defaults are measured for small models on CPUs: adapters on the upper third of the layers only, so
that the layers below run once per example and no gradient passes through them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """LoRA and optimiser settings.

    `upper` is the share of layers, from the top, that carry LoRA; `batch` counts examples a step;
    `learning_rate` rises over `warmup` of the steps and falls to zero along a cosine.
    """

    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ALL_LINEAR
    upper: float = 1 / 3
    epochs: int = 2
    batch: int = 4
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    seed: int = 7

    def as_dict(self) -> dict[str, object]:
        """Return the recipe as JSON-ready values, for manifests and digests."""
        return {**asdict(self), "targets": list(self.targets)}
