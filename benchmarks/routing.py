"""Routing on CLINC150, its ten domains as departments, beside a plain logistic regression.

Both sides learn from the same questions, embedded once by the workspace's embedder. The router's floor and
temperature come from the training questions, each left out in turn, as a company without other data would
have it. Refusals are measured on the half of the validation questions whose hash is odd and on `oos_val`.
The method and its few constants were chosen with all of the validation questions in sight: a set that nobody
has seen may give a little less. `--quick` learns from 100 questions a department.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.app import build
from assistant.config import load
from assistant.routing.evaluate import Evaluation, calibration_error
from assistant.routing.examples import Examples
from assistant.routing.learned import Embed
from assistant.routing.router import Router
from benchmarks.figures import Figure, Options

ROOT = Path(__file__).parents[1]
FEW, SEEDS, QUICK_SEEDS, QUICK = (10, 30, 100), 5, 2, 100
NONE = "oos"
_PENALTY = 0.1
"""Of the logistic regression: scikit-learn's C = 10, the best of 1, 10 and 100 for it here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Questions with their domains."""

    texts: tuple[str, ...]
    domains: tuple[str, ...]

    def of(self, rows: Sequence[int]) -> Asked:
        """Return some of them."""
        return Asked(texts=tuple(self.texts[i] for i in rows), domains=tuple(self.domains[i] for i in rows))

    @property
    def examples(self) -> Examples:
        """The same by department."""
        questions: dict[str, list[str]] = {}
        for text, domain in zip(self.texts, self.domains, strict=True):
            questions.setdefault(domain, []).append(text)
        return Examples(questions=questions)


def run(options: Options) -> Iterator[Figure]:
    """Yield the figures of both sides."""
    folder = options.data / "routing" / "clinc150"
    if not folder.is_dir():
        yield Figure(figure="routing", value=None, unit="share", skipped=f"no data in {folder}")
        return
    names = ("train", "val", "oos_train", "oos_val")
    train, val, _, oos = (_read(folder / f"{name}.jsonl") for name in names)
    whole = _sample(train, QUICK, 0) if options.quick else train
    few = [(count, seed) for count in FEW for seed in range(QUICK_SEEDS if options.quick else SEEDS)]
    samples = {pair: _sample(train, *pair) for pair in few}
    texts = {text for asked in (whole, val, oos, *samples.values()) for text in asked.texts}
    vectors = _embedded(sorted(texts))

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([vectors[text] for text in texts])

    start = time.perf_counter()
    router = Router.fit(whole.examples, embed)
    yield Figure(figure="learning", value=round(time.perf_counter() - start, 2), unit="s")
    measured = (*_whole(router, whole, val, embed), *_refusals(router, whole, _odd(val), oos, embed))
    for figure in measured:  # the bars are for all the training questions
        yield replace(figure, at_least=None, at_most=None) if options.quick else figure
    yield from _few(samples, val, embed)
    yield from _decision(router, val, vectors)


def _whole(router: Router, train: Asked, val: Asked, embed: Embed) -> Iterator[Figure]:
    found = Evaluation.of([(d, router.route(t)) for t, d in zip(val.texts, val.domains, strict=True)])
    yield Figure(figure="accuracy", value=found.accuracy, unit="share", at_least=0.965, aim=0.975)
    assert found.calibration_error is not None
    yield Figure(
        figure="calibration_error", value=round(found.calibration_error, 4), unit="share", at_most=0.03
    )
    chances = _regression(train, val, embed)
    right = _right(chances, train, val)
    yield Figure(figure="regression.accuracy", value=round(float(right.mean()), 4), unit="share")
    error = calibration_error(chances.max(axis=1), right)
    yield Figure(figure="regression.calibration_error", value=round(error, 4), unit="share")


def _refusals(router: Router, train: Asked, val: Asked, oos: Asked, embed: Embed) -> Iterator[Figure]:
    routes = [(d, router.route(t)) for t, d in zip(val.texts, val.domains, strict=True)]
    found = Evaluation.of([*routes, *((None, router.route(text)) for text in oos.texts)])
    assert found.routed is not None
    refused = 1 - sum(route.department is not None for _, route in routes) / len(routes)
    yield Figure(figure="out_of_scope_recall", value=found.none_recall, unit="share", at_least=0.8, aim=0.88)
    yield Figure(figure="false_rejections", value=round(refused, 4), unit="share", at_most=0.03)
    own, others = (_regression(train, asked, embed).max(axis=1) for asked in (val, oos))
    recall = float((others < np.quantile(own, refused)).mean())
    yield Figure(figure="regression.out_of_scope_recall", value=round(recall, 4), unit="share")


def _few(samples: Mapping[tuple[int, int], Asked], val: Asked, embed: Embed) -> Iterator[Figure]:
    for count in FEW:
        figures = []
        for train in (asked for (size, _), asked in samples.items() if size == count):
            router = Router.fit(train.examples, embed)
            found = Evaluation.of([(d, router.route(t)) for t, d in zip(val.texts, val.domains, strict=True)])
            right = _right(_regression(train, val, embed), train, val)
            figures.append((found.accuracy, found.calibration_error, right.mean()))
        accuracy, error, other = (round(float(value), 4) for value in np.mean(np.array(figures), axis=0))
        bar, aim = (0.86, 0.9) if count == 30 else (None, None)
        name = f"examples_{count}"
        yield Figure(figure=f"{name}.accuracy", value=accuracy, unit="share", at_least=bar, aim=aim)
        yield Figure(figure=f"{name}.calibration_error", value=error, unit="share")
        yield Figure(figure=f"{name}.regression.accuracy", value=other, unit="share")


def _decision(router: Router, val: Asked, vectors: Mapping[str, NDArray[np.float32]]) -> Iterator[Figure]:
    """Time a route whose question is embedded already, with evidence and an own department."""
    times = []
    department = router.learned.departments[0]
    for text in val.texts[:1000]:
        vector = vectors[text][None]
        known = Router.of(router.learned, partial(_known, vector), router.settings)
        start = time.perf_counter()
        known.route(text, own=department, evidence={department: 0.3})
        times.append((time.perf_counter() - start) * 1e3)
    yield Figure(figure="decision_median", value=round(float(np.median(times)), 3), unit="ms", at_most=1)
    yield Figure(figure="decision_p99", value=round(float(np.quantile(times, 0.99)), 3), unit="ms")


def _known(vector: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
    return vector


def _read(file: Path) -> Asked:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return Asked(texts=tuple(row["text"] for row in rows), domains=tuple(row["domain"] for row in rows))


def _odd(asked: Asked) -> Asked:
    return asked.of(
        [i for i, text in enumerate(asked.texts) if hashlib.sha256(text.encode()).digest()[0] % 2]
    )


def _sample(asked: Asked, count: int, seed: int) -> Asked:
    """Draw so many questions of each domain."""
    generator, domains = np.random.default_rng(seed), np.array(asked.domains)
    rows = [
        generator.choice(np.flatnonzero(domains == name), count, replace=False) for name in np.unique(domains)
    ]
    return asked.of([int(i) for i in np.concatenate(rows)])


def _embedded(texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    embedder = build(load(ROOT / "assistant.yaml")).embedder
    return dict(zip(texts, embedder.embed(texts), strict=True))


def _regression(train: Asked, asked: Asked, embed: Embed) -> NDArray[np.float64]:
    """Fit a multinomial logistic regression on the embeddings and return its chances of `asked`."""
    import torch

    names = sorted(set(train.domains))
    inputs, others = (torch.from_numpy(embed(each.texts)) for each in (train, asked))
    labels = torch.tensor([names.index(domain) for domain in train.domains])
    weights = torch.zeros(inputs.shape[1], len(names), requires_grad=True)
    bias = torch.zeros(len(names), requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        lost = torch.nn.functional.cross_entropy(inputs @ weights + bias, labels, reduction="sum")
        lost = lost + _PENALTY / 2 * (weights**2).sum()
        torch.autograd.backward(lost)
        return float(lost.detach())

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        chances: NDArray[np.float64] = torch.softmax(others @ weights + bias, dim=1).double().numpy()
    return chances


def _right(chances: NDArray[np.float64], train: Asked, asked: Asked) -> NDArray[np.bool_]:
    names = np.array(sorted(set(train.domains)))
    right: NDArray[np.bool_] = names[chances.argmax(axis=1)] == np.array(asked.domains)
    return right
