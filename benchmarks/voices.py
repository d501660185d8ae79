"""A small classifier of departments' voices: multinomial naive Bayes over words and line shapes.

Fitted on the answers of the training data, it measures whether a generated answer sounds like its
department. It is a measuring tool, not part of the assistant.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_FEATURE = re.compile(r"\w+|\*\*|[—“”`]|[^\w\s]", re.UNICODE)


class Voices:
    """Log-probabilities of features by department (Laplace smoothing; equal priors)."""

    def __init__(self, weights: Mapping[str, Mapping[str, float]], unseen: Mapping[str, float]) -> None:
        self._weights = weights
        self._unseen = unseen

    @classmethod
    def fit(cls, answers: Mapping[str, Sequence[str]]) -> Voices:
        """Fit on answers by department."""
        counts = {d: Counter(f for text in texts for f in features(text)) for d, texts in answers.items()}
        vocabulary = len({feature for count in counts.values() for feature in count})
        totals = {department: sum(count.values()) + vocabulary for department, count in counts.items()}
        weights = {
            department: {f: math.log((n + 1) / totals[department]) for f, n in count.items()}
            for department, count in counts.items()
        }
        return cls(weights, {department: -math.log(total) for department, total in totals.items()})

    def name(self, text: str) -> str:
        """Return the department whose voice a text is nearest to."""
        found = list(features(text))
        return max(self._weights, key=lambda d: sum(self._weights[d].get(f, self._unseen[d]) for f in found))


def features(text: str) -> Iterable[str]:
    """Yield words, marks and line beginnings; figures and citations count by kind only."""
    plain = re.sub(r"\d[\d.,:/-]*", "0", re.sub(r"\s*\[\d+\]", "", text.lower()))
    for line in plain.splitlines():
        tokens = _FEATURE.findall(line)
        yield from tokens
        if tokens:
            yield "^" + " ".join(tokens[:2])
