"""Logits -> the next token of each request of a batch.

It owns greedy choice, penalties (repetition: Keskar et al. 2019; presence: OpenAI's), temperature, top-k,
min-p (Nguyen et al. 2024), top-p (Holtzman et al. 2020), log-probabilities, and each request's own random
numbers; it refuses to let one request see another. Ranges are `sampling.check`'s.

Greedy requests cost one look at all rows together, where the logits are. Any other row is drawn from alone,
by numpy on the CPU, in one thread: operations so small wait for other threads longer than they compute.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from assistant.engine.base import Sampling, TokenLogprob
from assistant.errors import EngineError

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

COLDEST = 1e-5
"""Temperatures below it are greedy: nothing but the likeliest token would be drawn, or one of its equals."""

_BLOCK = 256
"""Vocabularies are looked at by the block first: sums, and the largest of each, are quick."""

_FEW = 128
"""Tokens that are mostly enough for a nucleus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A token, and its log-probability if the request asked for it."""

    token: int
    logprob: TokenLogprob | None = None


class Sampler:
    """The settings of one request and what was drawn so far; equal seeds draw equal tokens from equal logits.

    Args:
        prompt: its tokens, which the repetition penalty counts.
    """

    def __init__(self, sampling: Sampling, prompt: Iterable[int] = ()) -> None:
        self.sampling = sampling
        seed = None if sampling.seed is None else sampling.seed % 2**64  # else -1 and 1 give the same numbers
        self._random = random.Random(seed)
        self._repeated = _Seen(prompt) if sampling.repetition_penalty != 1.0 else None
        self._present = _Seen(()) if sampling.presence_penalty else None
        self._greedy = sampling.temperature < COLDEST
        self._plain = self._greedy and sampling.logprobs is None and not (self._repeated or self._present)

    def __call__(self, logits: Tensor) -> int:
        """Draw from logits [vocabulary].

        Raises:
            EngineError: they are not numbers.
        """
        [drawn] = draw([self], logits[None])
        if isinstance(drawn, EngineError):
            raise drawn
        return drawn.token

    def next(self, row: Tensor, likeliest: int) -> Drawn:
        """Draw from logits [vocabulary], of which `likeliest` has the largest; they are only read.

        Raises:
            EngineError: the penalties leave no number.
        """
        if self._plain:
            return Drawn(token=likeliest)
        logits = row.float().cpu().numpy()
        scores = self._penalised(logits)
        if scores is not logits and not np.isfinite(scores[likeliest := int(scores.argmax())]):
            raise _broken()
        token = likeliest
        if not self._greedy:
            weights, tokens = kept(scores, self.sampling)
            place = _pick(weights, 1.0 - self._random.random())
            token = place if tokens is None else int(tokens[place])
        for seen in (self._repeated, self._present):
            if seen:
                seen.add(token)
        asked = self.sampling.logprobs
        return Drawn(token=token, logprob=None if asked is None else _logprob(logits, token, asked))

    def _penalised(self, logits: Floats) -> Floats:
        """Return the scores after penalties: a copy, or the logits themselves where there are none."""
        if not (self._repeated or self._present):
            return logits
        scores = logits.copy()
        with np.errstate(over="ignore"):
            if self._repeated:
                penalty, tokens = self.sampling.repetition_penalty, self._repeated.tokens
                seen = scores[tokens]
                scores[tokens] = np.where(seen > 0, seen / penalty, seen * penalty)
            if self._present:
                scores[self._present.tokens] -= self.sampling.presence_penalty
        return scores


def draw(rows: Sequence[Sampler], logits: Tensor) -> list[Drawn | EngineError]:
    """Draw a token for each row from logits [rows, vocabulary], which are only read.

    A row whose logits are not numbers (NaN, plus infinity, or nothing above minus infinity) gets an error
    in its place; the others get their tokens all the same.
    """
    best, places = logits.max(-1)  # NaN is the largest of all: one look at the best tells a broken row
    sound, likeliest = best.isfinite().tolist(), places.tolist()
    drawn: list[Drawn | EngineError] = []
    for number, row in enumerate(rows):
        try:
            drawn.append(row.next(logits[number], likeliest[number]) if sound[number] else _broken())
        except EngineError as error:
            drawn.append(error)
    return drawn


def kept(scores: Floats, sampling: Sampling) -> tuple[Floats, Places | None]:
    """Return the weights of the tokens that may be drawn, and those tokens; None: all, in their order.

    The k likeliest, of these the ones that hold `min_p` of the likeliest's probability, of these the
    fewest that hold `top_p` of what is left. `scores` [vocabulary] are only read.
    """
    tokens: Places | None = None
    best = scores.max()
    if 0 < sampling.top_k < len(scores):
        tokens = _largest(scores, sampling.top_k)
        scores = scores[tokens]
    with np.errstate(over="ignore"):
        weights = scores - best
        weights *= 1.0 / sampling.temperature
        np.exp(weights, out=weights)
    if sampling.min_p:
        weights *= weights >= sampling.min_p
    if sampling.top_p < 1.0:
        places = _nucleus(weights, sampling.top_p)
        weights, tokens = weights[places], places if tokens is None else tokens[places]
    return weights, tokens


def _largest(scores: Floats, count: int) -> Places:
    """Return the places of the `count` largest, in no order.

    The blocks' largest are that many scores already: none below the last of them can be among the largest.
    """
    if count > len(scores) // _BLOCK:
        return np.argpartition(scores, -count)[-count:]
    tops = np.maximum.reduceat(scores, np.arange(0, len(scores), _BLOCK))
    above = np.flatnonzero(scores >= np.partition(tops, -count)[-count])
    return above[np.argpartition(scores[above], -count)[-count:]]


def _nucleus(weights: Floats, top_p: float) -> Places:
    """Return the places of the largest weights that together just reach `top_p` of all.

    Mostly they are a few, so the `_FEW` largest are looked at first. Else those that can belong to them:
    weights below `(1 - top_p)` of their mean sum to less than `1 - top_p` of all.
    """
    total = float(weights.sum(dtype=np.float64))
    ordered = _descending(weights, _largest(weights, min(_FEW, len(weights))))
    reached = weights[ordered].cumsum(dtype=np.float64)
    if reached[-1] < top_p * total:
        ordered = _descending(weights, np.flatnonzero(weights >= (1.0 - top_p) * total / len(weights)))
        reached = weights[ordered].cumsum(dtype=np.float64)
    return ordered[: int(reached.searchsorted(top_p * total)) + 1]


def _descending(weights: Floats, places: Places) -> Places:
    return places[np.argsort(-weights[places])]


def _pick(weights: Floats, part: float) -> int:
    """Return the place where the running sum of the weights reaches a part of the whole, above 0, up to 1.

    It never has weight 0: the sum before it is smaller.
    """
    blocks = np.add.reduceat(weights, np.arange(0, len(weights), _BLOCK), dtype=np.float64).cumsum()
    wanted = part * blocks[-1]
    block = int(blocks.searchsorted(wanted))
    reached = weights[block * _BLOCK : (block + 1) * _BLOCK].cumsum(dtype=np.float64)
    before = blocks[block - 1] if block else 0.0
    return block * _BLOCK + int(reached.searchsorted(min(wanted - before, reached[-1])))


class _Seen:
    """Tokens that were seen, each once, as an index."""

    def __init__(self, tokens: Iterable[int]) -> None:
        self._known = set(tokens)
        self.tokens: Places = np.array(sorted(self._known), dtype=np.int64)

    def add(self, token: int) -> None:
        """See one more."""
        if token not in self._known:
            self._known.add(token)
            self.tokens = np.append(self.tokens, token)


def _logprob(logits: Floats, token: int, alternatives: int) -> TokenLogprob:
    """Return what the model itself says of a token and of the likeliest, before any setting."""
    best = logits.max()
    total = best + np.log(np.exp(logits - best).sum(dtype=np.float64))
    count = min(alternatives, len(logits))
    likeliest = sorted(_largest(logits, count), key=lambda place: -logits[place]) if count else ()
    return TokenLogprob(
        token=token,
        logprob=float(logits[token] - total),
        likeliest=tuple((int(place), float(logits[place] - total)) for place in likeliest),
    )


def _broken() -> EngineError:
    return EngineError(
        "The model's scores for the next token are not numbers (NaN or infinity).",
        remedy="Verify the model and this department's adapter; in bfloat16 try `engine.dtype: float32`.",
    )
