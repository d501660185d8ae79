"""The form of a rule file: kinds, stages, selectors and the rule's own cases, as pydantic models.

`docs/rules.schema.json` is generated from here, so every editor completes a rule. There is no
expression language: a selector is fields and values joined by `any`, `all` and `not`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from assistant.types import Classification
from assistant.yamlfile import Section

Names = tuple[str, ...]
Phrase = Annotated[str, Field(pattern=r"\w")]
Host = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$")]


class When(Section):
    """Which questions a rule is about. Fields given together must all match; an empty one always does."""

    user_department: Names | None = Field(None, alias="user.department")
    user_group: Names | None = Field(None, alias="user.group", description="the user is in one of these")
    route_department: Names | None = Field(None, alias="route.department")
    document_department: Names | None = Field(None, alias="document.department", description="of any passage")
    document_classification: tuple[Classification, ...] | None = Field(None, alias="document.classification")
    text: tuple[Phrase, ...] | None = Field(
        None, description="the question holds one of these words or phrases"
    )
    any: tuple[When, ...] | None = Field(None, min_length=1)
    all: tuple[When, ...] | None = Field(None, min_length=1)
    not_: When | None = Field(None, alias="not")


class TopicBlock(Section):
    """Refuse questions that hold one of these words or phrases, as whole words, whatever their case."""

    kind: Literal["topic_block"]
    stage: Literal["input"] = "input"
    phrases: tuple[Phrase, ...] = Field(min_length=1)
    action: Literal["deny", "flag"] = "deny"


class GroundingMin(Section):
    """Abstain unless some passage is evidence enough: see `policies.evidence`."""

    kind: Literal["grounding_min"]
    stage: Literal["retrieval"] = "retrieval"
    evidence: float = Field(ge=0, le=1)
    action: Literal["abstain", "flag"] = "abstain"


class RequireCitations(Section):
    """Release only sentences that a passage supports, cited; without a single one, abstain.

    A sentence without figures and names that no passage speaks of (a greeting, an offer of help) may
    stand uncited.
    """

    kind: Literal["require_citations"]
    stage: Literal["output"] = "output"
    once: bool = Field(False, description="leave out what repeats an earlier sentence: small models do")
    support: float = Field(0.6, ge=0, le=1, description="share of a sentence's words its passage must hold")
    action: Literal["abstain"] = "abstain"


class LinkAllowlist(Section):
    """Replace links to hosts that are not listed, whether a document or the model brought them."""

    kind: Literal["link_allowlist"]
    stage: Literal["output"] = "output"
    hosts: tuple[Host, ...] = Field((), description="host names; their subdomains count too")
    action: Literal["redact"] = "redact"


class Disclaimer(Section):
    """Add the rule's text below the answer."""

    kind: Literal["disclaimer"]
    stage: Literal["output"] = "output"
    action: Literal["mark"] = "mark"


Check = Annotated[
    TopicBlock | GroundingMin | RequireCitations | LinkAllowlist | Disclaimer, Field(discriminator="kind")
]


class CasePassage(Section):
    """A passage as a case gives it."""

    text: str
    title: str = "A document"
    similarity: float = 0.0
    coverage: float = 0.0
    department: str | None = None
    classification: Classification = "internal"


class Case(Section):
    """A test of the rule, run every time it is loaded."""

    name: str
    question: str = "?"
    user_department: str | None = None
    user_groups: Names = ()
    route_department: str | None = None
    passages: tuple[CasePassage, ...] = ()
    answer: str = Field("", description="what the model said; output rules only")
    expect: Literal["nothing", "deny", "flag", "abstain", "redact", "mark", "drop"]


class Rule(Section):
    """One rule of policies/rules/*.yaml."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(ge=1)
    description: str = ""
    when: When = When()
    check: Check
    mode: Literal["enforce", "shadow"] = "enforce"
    on_error: Literal["deny"] = "deny"
    text: str = Field("", description="what the asker reads when the rule acts")
    cases: tuple[Case, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if not self.text and self.check.action in ("deny", "abstain", "mark"):
            raise ValueError(f"`text` is needed: the asker reads it when a rule does `{self.check.action}`")
        return self


class RuleFile(Section):
    """A file of rules."""

    rules: tuple[Rule, ...] = Field(min_length=1)
