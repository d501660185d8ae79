"""Which department a question belongs to, and how sure that is; "unsure" and "none of ours" are answers.

Calibrated chances from the departments' examples, weighed by what was found for the question, by the
asker's own department and by the conversation. It refuses to authorise: whether the asker may use the
department is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.config import Routing
from assistant.routing.examples import Examples
from assistant.routing.learned import Embed, Learned
from assistant.types import Route

EVIDENCE_WEIGHT = 3.0
"""Log-odds that a department gains when all that was found is its own; tuned on the sample's tuning half."""
_SMALLEST = 1e-4
_STRONG = 0.5
_REMEMBERED = 2
"""Earlier questions of a conversation that a follow-up is read with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A router that has learned. `route` takes about as long as embedding the question."""

    learned: Learned
    embed: Embed
    settings: Routing
    floor: float

    @classmethod
    def of(cls, learned: Learned, embed: Embed, settings: Routing) -> Router:
        """Put a router together; `embed` turns texts into unit vectors of shape (texts, dimensions)."""
        floor = learned.floor(settings.unfamiliar_share)
        return cls(learned=learned, embed=embed, settings=settings, floor=floor)

    @classmethod
    def fit(cls, examples: Examples, embed: Embed, settings: Routing | None = None) -> Router:
        """Learn from examples and put a router together.

        Raises:
            ConfigError: a department has neither examples nor a description.
        """
        return cls.of(Learned.fit(examples, embed), embed, settings or Routing())

    def route(
        self,
        question: str,
        *,
        earlier: Sequence[str] = (),
        own: str | None = None,
        evidence: Mapping[str, float] | None = None,
    ) -> Route:
        """Name the department, or None when unsure or when it is none of theirs; the reason says why.

        Args:
            earlier: the asker's earlier questions in this conversation, oldest first. A question that is
                clear by itself overrules them.
            own: the asker's department, a little likelier than others; a clear question overrules it.
            evidence: shares by department of what was found for the question, summing to at most 1. Only
                of what its asker may read: a route must not tell of documents that access hides.
        """
        if not self.learned.departments:
            return Route(department=None, reason="no departments")
        texts = [question]
        if earlier:
            texts.append(" ".join([*earlier[-_REMEMBERED:], question]))
        chances, likeness = self.learned.look(self.embed(texts))
        clear = float(chances[0].max()) if likeness[0] >= self.floor else 0.0
        read = clear * chances[0] + (1 - clear) * chances[-1]
        return self.decided(read, float(likeness.max()), own=own, evidence=evidence)

    def decided(
        self,
        read: NDArray[np.float64],
        likeness: float,
        *,
        own: str | None = None,
        evidence: Mapping[str, float] | None = None,
    ) -> Route:
        """Decide from a question's chances, shape (departments,), and its likeness to the examples."""
        departments, evidence = self.learned.departments, evidence or {}
        chances = self._weighed(read, own, evidence)
        order = np.argsort(-chances, kind="stable")
        best = int(order[0])
        department, chance = departments[best], float(chances[best])
        scores = {name: round(float(p), 4) for name, p in zip(departments, chances, strict=True)}
        if likeness < self.floor and sum(evidence.values()) < _STRONG:
            reason = f"none of our departments: likeness to their examples {likeness:.2f}, "
            reason += f"needs {self.floor:.2f}"
            return Route(department=None, confidence=chance, scores=scores, reason=reason, unfamiliar=True)
        if chance < self.settings.min_confidence:
            between = " or ".join(f"{departments[i]} {chances[i]:.2f}" for i in order[:2])
            reason = f"unsure: {between}, needs {self.settings.min_confidence:.2f}"
            return Route(department=None, confidence=chance, scores=scores, reason=reason)
        reason = f"like the examples of {department} ({read[best]:.2f}"
        if share := evidence.get(department):
            reason += f"; found for it: {share:.0%} of {department}"
        if own == department and self.settings.own_department != 1:
            reason += "; the asker's own department"
        return Route(department=department, confidence=chance, scores=scores, reason=f"{reason})")

    def held_out(self) -> tuple[tuple[str | None, Route], ...]:
        """Route example questions by all the others, each: what it belongs to, and where it went.

        All of them, or of very many a random part (`kernel.TESTED`).
        """
        learned = self.learned
        names = (*learned.departments, None)
        return tuple(
            (
                names[learned.labels[i]],
                self.decided(chances, likeness),
            )
            for i, chances, likeness in zip(
                learned.tested, learned.chances_left_out, learned.likeness_left_out, strict=True
            )
            if learned.asked[i]
        )

    def nearest(self, question: str, count: int = 3) -> tuple[tuple[str, str, float], ...]:
        """Return the most similar examples: text, department or "none", cosine. For operators only.

        A reviewed question is somebody's: it must not reach another asker, nor the log.
        """
        similarities = self.learned.vectors @ self.embed([question])[0]
        names = (*self.learned.departments, "none")
        return tuple(
            (self.learned.texts[i], names[self.learned.labels[i]], float(similarities[i]))
            for i in np.argsort(-similarities, kind="stable")[:count]
        )

    def _weighed(
        self, chances: NDArray[np.float64], own: str | None, evidence: Mapping[str, float]
    ) -> NDArray[np.float64]:
        """Multiply chances by e^(weight · share) and by the prior, and make them sum to 1 again."""
        departments = self.learned.departments
        shares = np.array([evidence.get(name, 0.0) for name in departments])
        prior = np.array([self.settings.own_department if name == own else 1.0 for name in departments])
        weighed = (chances + _SMALLEST) * np.exp(EVIDENCE_WEIGHT * shares) * prior
        result: NDArray[np.float64] = weighed / weighed.sum()
        return result
