"""One question on its way: what is known of it after each step, and the events that its asker sees.

It owns no step; a turn is never changed, each step returns the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from assistant.engine.base import Delta
from assistant.policies.rules import Facts, evidence
from assistant.prompt import Prompt
from assistant.retrieval.search import Search
from assistant.types import AdapterVersion, Answer, Decision, Passage, Question, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The question is recorded under this id; its text follows."""

    id: str
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of the answer that passed every output rule."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The answer is complete and its entry durable. Always the last event."""

    answer: Answer


Event = Opened | Text | Closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Everything known of one question so far; each step returns the next one."""

    id: str
    asked: Question
    search: Search
    route: Route = Route(department=None)
    version: AdapterVersion | None = None
    decisions: tuple[Decision, ...] = ()
    permitted: frozenset[int] = frozenset()
    passages: tuple[Passage, ...] = ()
    prompt: Prompt | None = None
    usage: Delta = field(default_factory=lambda: Delta(text=""))

    @property
    def facts(self) -> Facts:
        """What rules may look at."""
        return Facts(
            question=self.asked.text,
            user=self.asked.user,
            department=self.route.department,
            passages=self.passages,
        )

    @property
    def block(self) -> Decision | None:
        """The first decision that ends the question without generation."""
        return next((decision for decision in self.decisions if decision.blocks), None)

    def shares(self, count: int) -> dict[str, float]:
        """Share of each department in the first `count` passages, better ones counting for more.

        They sum to how much the best passage looks like an answer: weak evidence tells little of a route.
        """
        passages = self.passages[:count]
        strength = evidence(passages)
        best = max((passage.score for passage in passages), default=0.0)
        weights = [math.exp((passage.score - best) / 0.1) for passage in passages]
        shares: dict[str, float] = {}
        for passage, weight in zip(passages, weights, strict=True):
            department = passage.document.access_class.labels.department
            if department:
                shares[department] = shares.get(department, 0.0) + strength * weight / sum(weights)
        return shares

    def decided(self, *decisions: Decision) -> Turn:
        """Return the turn with more decisions."""
        return replace(self, decisions=(*self.decisions, *decisions))
