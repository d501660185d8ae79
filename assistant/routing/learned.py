"""What examples taught the router, kept in a file and learned anew when they change.

It owns learning and that file, in which the vectors of unchanged examples are found again. It refuses to
decide: see `router`.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.errors import ConfigError
from assistant.routing.examples import Examples
from assistant.routing.kernel import Kernel, landmarks, tested

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

NONE = -1
"""Label of a question that belongs to no department."""
_WIDE, _WIDE_PENALTY = 0.55, 0.03
"""Width of the kernel that tells departments apart: it looks far around."""
_NARROW, _NARROW_PENALTY = 0.15, 0.1
"""Width of the kernel that tells where examples are: far from all of them it says 0."""
_OF_A_DEPARTMENT = 0.5
"""How much likeness to one department counts beside likeness to any."""
_ERRORS = 2
_FORMAT = 4
_TEMPERATURES = np.geomspace(0.003, 1.0, 80)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Examples with their vectors (texts, dimensions) and labels, and the two kernels they taught.

    `telling` tells departments apart, `near` whether there are examples near. `chances_left_out`, shape
    (tested, departments), and `likeness_left_out`, shape (tested,), are what the examples `tested` would get
    had each been left out. `asked` is False for descriptions, which teach but are no questions.
    """

    departments: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    asked: NDArray[np.bool_]
    landmarks: NDArray[np.float32]
    telling: Kernel
    near: Kernel
    temperature: float
    chances_left_out: NDArray[np.float64]
    likeness_left_out: NDArray[np.float64]

    @classmethod
    def fit(cls, examples: Examples, embed: Embed) -> Learned:
        """Learn from examples; each department weighs the same, however many it has.

        Args:
            embed: texts to unit vectors of shape (texts, dimensions).

        Raises:
            ConfigError: a department has neither examples nor a description.
        """
        departments = examples.departments
        texts, labels, asked = _texts(examples)
        vectors, numbers = embed(texts), np.array(labels, dtype=np.int64)
        targets = (numbers[:, None] == np.arange(len(departments))).astype(np.float32)
        shares = _shares(numbers)
        cosines = vectors @ vectors[landmarks(len(vectors))].T
        telling, scores = Kernel.fit(cosines, targets, shares, width=_WIDE, penalty=_WIDE_PENALTY)
        own = numbers != NONE
        anywhere = own[:, None].astype(np.float32)
        near, density = Kernel.fit(cosines, anywhere, shares, width=_NARROW, penalty=_NARROW_PENALTY)
        rows = tested(len(vectors))
        known = own[rows]
        temperature = _temperature(scores[known], numbers[rows][known])
        return cls(
            departments=departments,
            texts=tuple(texts),
            vectors=vectors,
            labels=numbers,
            asked=np.array(asked),
            landmarks=vectors[landmarks(len(vectors))],
            telling=telling,
            near=near,
            temperature=temperature,
            chances_left_out=_softmax(scores / temperature),
            likeness_left_out=_likeness(density, scores),
        )

    @classmethod
    def kept(cls, file: Path, examples: Examples, *, embed: Embed, embedder: str) -> Learned:
        """Return what is kept in `file` if it was learned from just this, else learn it and keep it.

        Args:
            embedder: digest of the model behind `embed`.
        """
        key = _key(examples)
        about, old = _read(file)
        if old and about == {"key": key, "embedder": embedder}:
            return old
        known = (
            dict(zip(old.texts, old.vectors, strict=True)) if old and about["embedder"] == embedder else {}
        )

        def remembered(texts: Sequence[str]) -> NDArray[np.float32]:
            new = [text for text in dict.fromkeys(texts) if text not in known]
            if new:
                known.update(zip(new, embed(new), strict=True))
            return np.stack([known[text] for text in texts])

        learned = cls.fit(examples, remembered)
        learned._write(file, {"key": key, "embedder": embedder})
        return learned

    def look(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return chances and likeness of questions, unit rows of shape (questions, dimensions).

        Chances, shape (questions, departments), are those given that it is one of the departments'.
        Likeness, shape (questions,), is about 1 for one like many examples of one department, 0 for one
        like none at all.
        """
        cosines = vectors @ self.landmarks.T
        scores = self.telling.scores(cosines)
        return _softmax(scores / self.temperature), _likeness(self.near.scores(cosines), scores)

    @property
    def tested(self) -> NDArray[np.int64]:
        """Which examples were left out in turn: all, or a random part of many."""
        return tested(len(self.texts))

    def floor(self, share: float) -> float:
        """Return the likeness that all but this share of the departments' own questions reach, left out.

        It lies some standard errors lower: few examples do not span what people ask.
        """
        rows = self.tested
        own = self.likeness_left_out[(self.labels[rows] != NONE) & self.asked[rows]]
        if not len(own):
            return -np.inf
        return float(np.quantile(own, share) - _ERRORS * own.std() / np.sqrt(len(own)))

    def _write(self, file: Path, about: dict[str, str]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(f".{os.getpid()}.part")
        with beside.open("wb") as stream:
            np.savez(
                stream,
                about=np.array(json.dumps(about)),
                departments=np.array(json.dumps(self.departments)),
                texts=np.array(json.dumps(self.texts)),
                vectors=self.vectors,
                labels=self.labels,
                asked=self.asked,
                telling=self.telling.weights,
                near=self.near.weights,
                temperature=np.array(self.temperature),
                chances_left_out=self.chances_left_out,
                likeness_left_out=self.likeness_left_out,
            )
        beside.replace(file)


def _read(file: Path) -> tuple[dict[str, str], Learned | None]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
            vectors = saved["vectors"]
            learned = Learned(
                departments=tuple(json.loads(str(saved["departments"]))),
                texts=tuple(json.loads(str(saved["texts"]))),
                vectors=vectors,
                labels=saved["labels"],
                asked=saved["asked"],
                landmarks=vectors[landmarks(len(vectors))],
                telling=Kernel(weights=saved["telling"], width=_WIDE),
                near=Kernel(weights=saved["near"], width=_NARROW),
                temperature=float(saved["temperature"]),
                chances_left_out=saved["chances_left_out"],
                likeness_left_out=saved["likeness_left_out"],
            )
            return json.loads(str(saved["about"])), learned
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}, None


def _texts(examples: Examples) -> tuple[list[str], list[int], list[bool]]:
    texts: list[str] = []
    labels: list[int] = []
    asked: list[bool] = []
    for label, department in enumerate(examples.departments):
        questions = _distinct(examples.questions.get(department, ()))
        described = _distinct([examples.descriptions.get(department, "")])
        if not questions and not described:
            raise ConfigError(
                f"Department `{department}` has no example questions and no description to route by.",
                remedy=f"Add `examples` to adapters/{department}/adapter.yaml.",
            )
        texts += [*questions, *described]
        labels += [label] * (len(questions) + len(described))
        asked += [True] * len(questions) + [False] * len(described)
    none = _distinct(examples.none)
    return [*texts, *none], [*labels, *[NONE] * len(none)], [*asked, *[True] * len(none)]


def _distinct(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))


def _shares(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weigh departments the same; a question of none weighs as one of the largest department does."""
    counts = np.bincount(labels[labels != NONE])
    shares = (counts.sum() / (np.count_nonzero(counts) * counts)).astype(np.float32)
    weights: NDArray[np.float32] = np.where(labels == NONE, shares.min(), shares[labels])
    return weights


def _temperature(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature of the lowest log loss on questions left out (Guo et al. 2017).

    Its targets are as sure as that many questions allow (Platt 1999): few that all went right prove little.
    """
    rows = np.arange(len(labels))
    doubt = 1 / (len(labels) + 2)

    def loss(temperature: float) -> float:
        logs = np.log(_softmax(scores / temperature) + 1e-9)
        return float(-((1 - doubt) * logs[rows, labels] + doubt * logs.mean(axis=1)).mean())

    return float(min(_TEMPERATURES, key=loss))


def _likeness(near: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Join what `near` says, shape (questions, 1), with the best department's score: (questions,)."""
    joined: NDArray[np.float64] = (near[:, 0] + _OF_A_DEPARTMENT * scores.max(axis=1)).astype(np.float64)
    return joined / (1 + _OF_A_DEPARTMENT)


def _softmax(values: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = np.exp((values - values.max(axis=-1, keepdims=True)).astype(np.float64))
    chances: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return chances


def _key(examples: Examples) -> str:
    questions = {name: list(own) for name, own in examples.questions.items()}
    content = [_FORMAT, questions, dict(examples.descriptions), list(examples.none)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
