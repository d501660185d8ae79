"""Which department a question belongs to, and how sure that is; "unsure" is an answer.

A logistic regression over question embeddings, fitted in a moment on each department's example questions
and kept in a file, with a second look at the nearest examples for a question that resembles none of them.
It refuses to authorise: whether the asker may use the department is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.errors import ConfigError
from assistant.routing.regression import Regression
from assistant.types import Route

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

_FORMAT = 1
_NEIGHBOURS = 5
_NEAREST_TEMPERATURE = 0.05
_SMALLEST = 1e-4
_STRONG = 0.5
EVIDENCE_WEIGHT = 3.0
"""Log-odds that a department gains when all that was found is its own; tuned on the sample's tuning half."""
_FEW = 50
_UNFAMILIAR_SHARE = 0.02
"""Share of the examples that would count as unfamiliar among the others: it sets the floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A fitted router. `route` takes about as long as embedding the question."""

    departments: tuple[str, ...]
    regression: Regression
    examples: NDArray[np.float32]
    labels: NDArray[np.int64]
    floor: float
    embed: Embed
    min_confidence: float

    @classmethod
    def fit(
        cls,
        examples: Mapping[str, Sequence[str]],
        descriptions: Mapping[str, str],
        embed: Embed,
        min_confidence: float,
    ) -> Router:
        """Fit on example questions by department; a department's description counts as one more.

        Args:
            embed: texts to unit vectors of shape (texts, dimensions).
            min_confidence: probability below which the route is "unsure".

        Raises:
            ConfigError: a department has neither examples nor a description.
        """
        departments = tuple(sorted({*examples, *descriptions}))
        texts, labels = _texts(departments, examples, descriptions)
        vectors, numbers = embed(texts), np.array(labels, dtype=np.int64)
        return cls(
            departments=departments,
            regression=Regression.fit(vectors, numbers, len(departments)),
            examples=vectors,
            labels=numbers,
            floor=_floor(vectors),
            embed=embed,
            min_confidence=min_confidence,
        )

    @classmethod
    def kept(
        cls,
        file: Path,
        examples: Mapping[str, Sequence[str]],
        descriptions: Mapping[str, str],
        *,
        embed: Embed,
        embedder: str,
        min_confidence: float,
    ) -> Router:
        """Return the router kept in `file` if it was fitted on just this, else fit it and keep it.

        Args:
            embedder: digest of the model behind `embed`.
        """
        key = _key(examples, descriptions, embedder)
        router = cls._read(file, key, embed, min_confidence)
        if router is None:
            router = cls.fit(examples, descriptions, embed, min_confidence)
            router._write(file, key)
        return router

    def route(self, question: str, evidence: Mapping[str, float] | None = None) -> Route:
        """Name the department, or None when unsure; the reason says which.

        Args:
            evidence: shares by department of what was found for the question, summing to at most 1. Only
                of what its asker may read: a route must not tell of documents that access hides.
        """
        if not self.departments:
            return Route(department=None, reason="no departments")
        vector = self.embed([question])[0]
        similarities = self.examples @ vector
        chances = self._weighed(self._chances(vector, similarities), evidence or {})
        best = int(chances.argmax())
        nearness = float(_mean_of_nearest(similarities))
        department, chance = self.departments[best], float(chances[best])
        scores = {name: round(float(p), 4) for name, p in zip(self.departments, chances, strict=True)}
        if nearness < self.floor and sum((evidence or {}).values()) < _STRONG:
            reason = f"unlike any example (similarity {nearness:.2f}, needs {self.floor:.2f})"
            return Route(department=None, confidence=chance, scores=scores, reason=reason)
        if chance < self.min_confidence:
            reason = f"unsure: {department} {chance:.2f}, needs {self.min_confidence:.2f}"
            return Route(department=None, confidence=chance, scores=scores, reason=reason)
        reason = f"like the examples of {department} ({chance:.2f})"
        return Route(department=department, confidence=chance, scores=scores, reason=reason)

    def _chances(self, vector: NDArray[np.float32], similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Geometric mean of the regression's probabilities and of a softmax over nearest examples."""
        regression = self.regression.probabilities(vector[None])[0] + _SMALLEST
        nearest = np.array([similarities[self.labels == label].max() for label in range(len(regression))])
        blended = np.sqrt(regression * np.exp((nearest - nearest.max()) / _NEAREST_TEMPERATURE))
        chances: NDArray[np.float64] = blended / blended.sum()
        return chances

    def _weighed(self, chances: NDArray[np.float64], evidence: Mapping[str, float]) -> NDArray[np.float64]:
        """Multiply chances by e^(weight · share) and make them sum to 1 again."""
        shares = np.array([evidence.get(name, 0.0) for name in self.departments])
        weighed = (chances + _SMALLEST) * np.exp(EVIDENCE_WEIGHT * shares)
        result: NDArray[np.float64] = weighed / weighed.sum()
        return result

    @classmethod
    def _read(cls, file: Path, key: str, embed: Embed, min_confidence: float) -> Router | None:
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
                about = json.loads(str(saved["about"]))
                if about["key"] != key:
                    return None
                return cls(
                    departments=tuple(about["departments"]),
                    regression=Regression(weights=saved["weights"], bias=saved["bias"]),
                    examples=saved["examples"],
                    labels=saved["labels"],
                    floor=float(about["floor"]),
                    embed=embed,
                    min_confidence=min_confidence,
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _write(self, file: Path, key: str) -> None:
        about = {"key": key, "departments": self.departments, "floor": self.floor}
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".part")
        with beside.open("wb") as stream:
            np.savez(
                stream,
                about=np.array(json.dumps(about)),
                weights=self.regression.weights,
                bias=self.regression.bias,
                examples=self.examples,
                labels=self.labels,
            )
        beside.replace(file)


def _texts(
    departments: Sequence[str], examples: Mapping[str, Sequence[str]], descriptions: Mapping[str, str]
) -> tuple[list[str], list[int]]:
    texts: list[str] = []
    labels: list[int] = []
    for label, department in enumerate(departments):
        own = [*examples.get(department, ()), descriptions.get(department, "")]
        own = list(dict.fromkeys(text.strip() for text in own if text.strip()))
        if not own:
            raise ConfigError(
                f"Department `{department}` has no example questions and no description to route by.",
                remedy=f"Add `examples` to adapters/{department}/adapter.yaml.",
            )
        texts += own
        labels += [label] * len(own)
    return texts, labels


def _key(examples: Mapping[str, Sequence[str]], descriptions: Mapping[str, str], embedder: str) -> str:
    content = [_FORMAT, embedder, {name: list(own) for name, own in examples.items()}, dict(descriptions)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _mean_of_nearest(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the highest similarities along the last axis."""
    count = min(_NEIGHBOURS, similarities.shape[-1])
    nearest: NDArray[np.float32] = np.sort(similarities, axis=-1)[..., -count:].mean(axis=-1)
    return nearest


def _floor(vectors: NDArray[np.float32]) -> float:
    """Nearness below which a question is like no example, from how near the examples are to each other.

    Few examples say little of what is unfamiliar, so the floor rises with their number.
    """
    if len(vectors) <= _NEIGHBOURS:
        return -1.0
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -1.0)
    strict = float(np.quantile(_mean_of_nearest(similarities), _UNFAMILIAR_SHARE))
    return strict * len(vectors) / (len(vectors) + _FEW)
