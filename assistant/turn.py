"""One question on its way: what is known of it after each step, and the events that its asker sees.

It owns no step; a turn is never changed, each step returns the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from assistant.engine.base import Delta
from assistant.policies.rules import Facts
from assistant.prompt import Prompt
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

    def decided(self, *decisions: Decision) -> Turn:
        """Return the turn with more decisions."""
        return replace(self, decisions=(*self.decisions, *decisions))
