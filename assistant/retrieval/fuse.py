"""Two rankings -> one. Owns the arithmetic of fusion and of crowding; knows nothing of indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item")

DENSE_WEIGHT = 0.6
"""Measured: nDCG@10 .440 on cranfield and .876 on squad2_dev_ir; reciprocal ranks give .438 and .847."""


def convex(
    dense: Mapping[int, float], lexical: Mapping[int, float], weight: float = DENSE_WEIGHT
) -> dict[int, float]:
    """Score ids by `weight` · cosine + (1 - `weight`) · lexical score over its maximum.

    A convex combination keeps how much better one chunk is than the next, which ranks throw away
    (Bruch, Gai, Ingber 2023, arXiv 2210.11934).
    """
    highest = max(lexical.values(), default=0.0) or 1.0
    return {
        id: weight * dense.get(id, 0.0) + (1 - weight) * lexical.get(id, 0.0) / highest
        for id in {*dense, *lexical}
    }


def at_most_per(most: int, items: Sequence[Item], group: Callable[[Item], Hashable]) -> list[Item]:
    """Keep the order, but move what exceeds `most` items of one group behind all others."""
    seen: Counter[Hashable] = Counter()
    front: list[Item] = []
    behind: list[Item] = []
    for item in items:
        seen[group(item)] += 1
        (front if seen[group(item)] <= most else behind).append(item)
    return front + behind
