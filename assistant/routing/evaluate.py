"""How good routes are: a confusion table, accuracy, calibration, and what was refused.

It owns the figures; where the routes come from is its caller's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.types import Route

BINS = 15
Routed = tuple[str | None, Route]
"""What a question belongs to (None: none of the departments), and where it went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures of routed questions, shares in [0, 1]; None where no question tells.

    `accuracy` is the share of the departments' questions whose likeliest department is theirs; `routed` of
    those that went there, `unsure` and `false_rejections` of those that went nowhere. `none_recall` is the
    share of questions of no department that were not routed to one. `calibration_error` is the expected
    calibration error of the likeliest department's chance over 15 bins of equal width (Naeini et al. 2015).
    `confusion` counts questions by what they belong to and where they went.
    """

    questions: int
    accuracy: float | None
    routed: float | None
    unsure: float | None
    false_rejections: float | None
    none_recall: float | None
    calibration_error: float | None
    confusion: dict[str, dict[str, int]]

    @classmethod
    def of(cls, routed: Sequence[Routed]) -> Evaluation:
        """Count."""
        own = [(expected, route) for expected, route in routed if expected is not None]
        likeliest = [
            (max(route.scores.items(), key=lambda item: item[1]), expected) for expected, route in own
        ]
        right = np.array([name == expected for (name, _), expected in likeliest], dtype=bool)
        chances = np.array([chance for (_, chance), _ in likeliest])
        return cls(
            questions=len(routed),
            accuracy=_share([bool(each) for each in right]),
            routed=_share([route.department == expected for expected, route in own]),
            unsure=_share([route.outcome == "unsure" for _, route in own]),
            false_rejections=_share([route.outcome == "none" for _, route in own]),
            none_recall=_share([route.department is None for expected, route in routed if expected is None]),
            calibration_error=calibration_error(chances, right) if own else None,
            confusion=_confusion(routed),
        )


def calibration_error(chances: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the mean distance between chance and share of right ones, bins weighed by their questions.

    Args:
        chances: shape (questions,), in [0, 1].
        right: whether each came true, shape (questions,).
    """
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    gaps = [abs(float((chances[bins == each] - right[bins == each]).sum())) for each in range(BINS)]
    return sum(gaps) / len(chances)


def _share(truths: Sequence[bool]) -> float | None:
    return round(sum(truths) / len(truths), 4) if truths else None


def _confusion(routed: Sequence[Routed]) -> dict[str, dict[str, int]]:
    counts = Counter((expected or "none", route.department or route.outcome) for expected, route in routed)
    departments = sorted({name for pair in counts for name in pair} - {"unsure", "none"})
    rows = [name for name in (*departments, "none") if any(row == name for row, _ in counts)]
    return {row: {column: counts[row, column] for column in (*departments, "unsure", "none")} for row in rows}
