"""Kernel ridge regression over unit vectors: scores by department, and how each example fares left out.

It owns the fit, in numpy and in closed form: seconds for 15,000 examples, a moment for a few hundred. It
refuses to know what the classes mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LANDMARKS = 3072
"""Most examples that scores are computed from; with more, the others only shape those."""
TESTED = 8192
"""Most examples that are left out in turn: they tell how sure scores are, and more of them tell no more."""
_JITTER = 1e-6
_BLOCK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Weights of landmarks, shape (landmarks, classes).

    `width` is the cosine distance over which a landmark's influence falls to 1/e.
    """

    weights: NDArray[np.float32]
    width: float

    @classmethod
    def fit(
        cls,
        cosines: NDArray[np.float32],
        targets: NDArray[np.float32],
        shares: NDArray[np.float32],
        *,
        width: float,
        penalty: float,
    ) -> tuple[Kernel, NDArray[np.float32]]:
        """Fit weights so that scores come near the targets.

        The method is regularised least squares with a Gaussian kernel, over a random subset of landmarks
        where there are many examples (Rifkin, Yeo and Poggio 2003), and its closed leave-one-out form.

        Args:
            cosines: of examples and `landmarks`, shape (examples, landmarks).
            targets: shape (examples, classes).
            shares: how much each example weighs, 1 on average; shape (examples,).

        Returns:
            The kernel, and the scores of the `tested` examples had each been left out: (tested, classes).
        """
        count = len(cosines)
        near, roots = _near(cosines, width), np.sqrt(shares)[:, None]
        system = penalty * near[landmarks(count)].astype(np.float64)
        system[np.diag_indices_from(system)] += _JITTER * count
        for start in range(0, count, _BLOCK):  # in blocks: longer sums are too coarse in fp32
            rows = near[start : start + _BLOCK] * roots[start : start + _BLOCK]
            system += rows.T @ rows  # a matrix with itself: half the work
        inverse = np.linalg.inv(system)
        weights = (inverse @ (near.T @ (targets * shares[:, None]))).astype(np.float32)
        some = tested(count)
        near, wanted = near[some], targets[some]
        leverage = np.einsum("ij,ij->i", near @ inverse.astype(np.float32), near) * shares[some]
        left_out = wanted - (wanted - near @ weights) / np.maximum(1 - leverage, 1e-3)[:, None]
        return cls(weights=weights, width=width), left_out

    def scores(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score each class from the cosines to the landmarks: (questions, landmarks) to (questions, classes).

        About 1 where a class's examples are dense; with a small width, 0 far from all.
        """
        scores: NDArray[np.float32] = _near(cosines, self.width) @ self.weights
        return scores


def landmarks(count: int) -> NDArray[np.int64]:
    """Choose which of so many examples are landmarks: all, or a random subset that is always the same."""
    return _some(count, LANDMARKS, seed=0)


def tested(count: int) -> NDArray[np.int64]:
    """Choose which of so many examples are left out in turn, as `landmarks` does."""
    return _some(count, TESTED, seed=1)


def _some(count: int, most: int, *, seed: int) -> NDArray[np.int64]:
    chosen: NDArray[np.int64] = np.sort(np.random.default_rng(seed).permutation(count)[:most])
    return chosen


def _near(cosines: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    near: NDArray[np.float32] = np.exp((cosines - np.float32(1)) / np.float32(width))
    return near
