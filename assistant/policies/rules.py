"""The rule book: which rules there are, which apply to a question, and what each decides.

It owns evaluation of input and retrieval rules and the selector; `policies.output` owns what happens to
an answer's sentences. A rule whose own case fails, or that fails while deciding, never lets anything
pass: the first refuses to start, the second denies.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import ConfigError
from assistant.policies.links import visible
from assistant.policies.schema import (
    Disclaimer,
    GroundingMin,
    LinkAllowlist,
    RequireCitations,
    Rule,
    RuleFile,
    TopicBlock,
    When,
)
from assistant.types import Decision, Passage, Stage, User
from assistant.yamlfile import read_yaml, validated


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules may look at. `department` is the route's."""

    question: str
    user: User
    department: str | None = None
    passages: tuple[Passage, ...] = ()


class RuleBook:
    """All rules of a workspace, in the order of their files."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)

    @classmethod
    def load(cls, folder: Path) -> RuleBook:
        """Read `*.yaml` of a folder and run every rule's cases.

        Raises:
            ConfigError: no such folder, a file is wrong, two rules share an id, or a case does not hold.
        """
        from assistant.policies.cases import failures

        if not folder.is_dir():
            raise ConfigError(
                f"{folder} is not a folder.",
                remedy="Rules live there; without any, make it and leave it empty.",
            )
        for file in folder.glob("*.yml"):
            raise ConfigError(f"{file} would not be read.", remedy=f"Name it {file.stem}.yaml.")
        rules: dict[str, Rule] = {}
        for file in sorted(folder.glob("*.yaml")):
            for rule in validated(RuleFile, read_yaml(file), file).rules:
                if rule.id in rules:
                    raise ConfigError(f"{file}: rule `{rule.id}` stands twice.", remedy="Give it another id.")
                rules[rule.id] = rule
                for failure in failures(rule):
                    raise ConfigError(
                        f"{file}: rule `{rule.id}`: {failure}.", remedy="Correct the rule, or its case."
                    )
        return cls(tuple(rules.values()))

    def decide(self, stage: Stage, facts: Facts) -> list[Decision]:
        """Return what the input or retrieval rules that apply decide; nothing said means allowed."""
        applying = (rule for rule in self.rules if rule.check.stage == stage)
        return [decision for rule in applying if (decision := _decide(rule, facts))]

    def output(self, facts: Facts) -> tuple[Rule, ...]:
        """Return the output rules that apply to this question."""
        return tuple(r for r in self.rules if r.check.stage == "output" and applies(r.when, facts))


def evidence(passages: Iterable[Passage]) -> float:
    """How much the best passage looks like an answer: mean of its similarity and word coverage, in [0, 1]."""
    return max((max(0.0, p.similarity) * 0.5 + p.coverage * 0.5 for p in passages), default=0.0)


def applies(when: When, facts: Facts) -> bool:
    """Whether a selector matches; an empty one always does."""
    user, labels = facts.user, [p.document.access_class.labels for p in facts.passages]
    tests = (
        when.user_department is None or user.department in when.user_department,
        when.user_group is None or not user.groups.isdisjoint(when.user_group),
        when.route_department is None or facts.department in when.route_department,
        when.document_department is None or any(x.department in when.document_department for x in labels),
        when.document_classification is None
        or any(x.classification in when.document_classification for x in labels),
        when.text is None or holds_phrase(facts.question, when.text),
        when.any is None or any(applies(each, facts) for each in when.any),
        when.all is None or all(applies(each, facts) for each in when.all),
        when.not_ is None or not applies(when.not_, facts),
    )
    return all(tests)


def holds_phrase(text: str, phrases: Iterable[str]) -> str | None:
    """Return the first phrase that stands in `text` as whole words, whatever its case and spacing."""
    flat = f" {_flat(text)} "
    return next((phrase for phrase in phrases if f" {_flat(phrase)} " in flat), None)


def _flat(text: str) -> str:
    """Words in one spelling: nobody gets around a phrase by width, case or characters that do not show."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", visible(text)).casefold()))


def decided(rule: Rule, reason: str) -> Decision:
    """Return the rule's decision with a reason."""
    return Decision(
        action=rule.check.action,
        rule=rule.id,
        version=rule.version,
        stage=rule.check.stage,
        mode=rule.mode,
        reason=reason,
        text=rule.text,
    )


def _decide(rule: Rule, facts: Facts) -> Decision | None:
    try:
        if not applies(rule.when, facts):
            return None
        reason = _reason(rule, facts)
    except Exception as error:  # noqa: BLE001 - a rule that fails must deny, whatever failed in it
        return Decision(
            action="deny",
            rule=rule.id,
            version=rule.version,
            stage=rule.check.stage,
            mode=rule.mode,
            reason=f"the rule failed: {type(error).__name__}: {error}",
            text=rule.text or "This question cannot be answered now: a compliance rule failed.",
        )
    return decided(rule, reason) if reason else None


def _reason(rule: Rule, facts: Facts) -> str | None:
    match rule.check:
        case TopicBlock(phrases=phrases):
            phrase = holds_phrase(facts.question, phrases)
            return f"the question holds “{phrase}”" if phrase else None
        case GroundingMin(evidence=least):
            found = evidence(facts.passages)
            return f"evidence {found:.2f} is below {least:.2f}" if found < least else None
        case RequireCitations() | LinkAllowlist() | Disclaimer():
            return None
