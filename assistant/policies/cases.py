"""Run a rule's own cases: a rule that does not do what it says it does never starts."""

from __future__ import annotations

from collections.abc import Iterator

from assistant.policies.output import Gate
from assistant.policies.rules import Facts, RuleBook, applies
from assistant.policies.schema import Case, CasePassage, Rule
from assistant.types import AccessClass, Chunk, Document, Labels, Passage, User


def failures(rule: Rule) -> Iterator[str]:
    """Yield what each failing case expected and what the rule did."""
    enforced = rule.model_copy(update={"mode": "enforce"})
    for case in rule.cases:
        acted = _actions(enforced, case)
        if acted != ({case.expect} if case.expect != "nothing" else set()):
            got = ", ".join(sorted(acted)) or "nothing"
            yield f"case “{case.name}” expects {case.expect}, the rule does {got}"


def _actions(rule: Rule, case: Case) -> set[str]:
    facts = Facts(
        question=case.question,
        user=User(id="case", department=case.user_department, groups=frozenset(case.user_groups)),
        department=case.route_department,
        passages=tuple(_passage(number, given) for number, given in enumerate(case.passages)),
    )
    if rule.check.stage != "output":
        return {decision.action for decision in RuleBook([rule]).decide(rule.check.stage, facts)}
    if not applies(rule.when, facts):
        return set()
    gate = Gate([rule], facts)
    gate.push(case.answer)
    outcome = gate.finish()
    return {"abstain"} if outcome.abstained else {decision.action for decision in outcome.decisions}


def _passage(number: int, given: CasePassage) -> Passage:
    labels = Labels(
        source="case",
        principals=frozenset(),
        department=given.department,
        classification=given.classification,
    )
    document = Document(
        id=f"case-{number}",
        source="case",
        uri=f"{number}",
        title=given.title,
        media_type="text/plain",
        content_digest="",
        size_bytes=0,
        access_class=AccessClass(id=0, labels=labels),
    )
    chunk = Chunk(
        id=number, document_id=document.id, ordinal=0, text=given.text, start=0, end=len(given.text)
    )
    return Passage(
        chunk=chunk, document=document, score=1.0, similarity=given.similarity, coverage=given.coverage
    )
