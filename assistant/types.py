"""Frozen values that travel between rooms. This module imports nothing of ours.

It owns the shapes of the vocabulary (user, labels, document, chunk, passage, route, decision,
citation, answer, receipt); it refuses to hold behaviour beyond what a value can say of itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal

Action = Literal["allow", "deny", "redact", "pseudonymise", "drop", "mark", "abstain", "flag"]
Stage = Literal["input", "retrieval", "prompt", "output"]
Status = Literal["answered", "abstained", "denied", "interrupted"]
Role = Literal["system", "user", "assistant"]
RouteOutcome = Literal["department", "unsure", "none"]
Classification = Literal["public", "internal", "confidential", "restricted"]

EVERYONE = "everyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks. `groups` and `attributes` come from the directory or the caller's identity provider."""

    id: str
    department: str | None = None
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def principals(self) -> frozenset[str]:
        """The labels a document may name to be readable by this user."""
        own = {EVERYONE, f"user:{self.id}", *(f"group:{group}" for group in self.groups)}
        if self.department:
            own.add(f"department:{self.department}")
        return frozenset(own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Access labels of a document. Documents with equal labels share one access class."""

    source: str
    principals: frozenset[str]
    department: str | None = None
    classification: Classification = "internal"
    residency: str | None = None

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON of the labels, hex."""
        canonical = json.dumps(
            [self.source, sorted(self.principals), self.department, self.classification, self.residency]
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClass:
    """Labels as stored, with the number that indexes and bitmaps use."""

    id: int
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document as stored. `uri` is its path inside its source; `(source, uri)` is unique."""

    id: str
    source: str
    uri: str
    title: str
    media_type: str
    content_digest: str
    size_bytes: int
    access_class: AccessClass
    dated: str | None = None
    superseded_by: str | None = None
    ingested_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a document. `text == document_text[start:end]`, offsets in characters; `page` from 1."""

    id: int
    document_id: str
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None = None
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A chunk retrieved for a question, or several that stand side by side, joined: those are its `parts`.

    `focus` are the spans of the chunk's text that are shown to the model, none meaning all of it; `lead`
    is the one that answers the question best, where this passage holds it.
    `score` orders passages of one search; `similarity` is the cosine of question and chunk in
    [-1, 1]; `coverage` is the idf-weighted share in [0, 1] of the question's words the chunk holds.
    """

    chunk: Chunk
    document: Document
    score: float
    similarity: float = 0.0
    coverage: float = 0.0
    focus: tuple[tuple[int, int], ...] = ()
    lead: tuple[int, int] | None = None
    parts: tuple[Chunk, ...] = ()

    def page_at(self, offset: int) -> int | None:
        """Return the page on which the part of the document begins that holds this place of the text."""
        begun = [part.page for part in self.parts if part.start <= self.chunk.start + offset]
        return begun[-1] if begun else self.chunk.page

    @property
    def shown(self) -> str:
        """What the model is shown of the chunk."""
        if not self.focus:
            return self.chunk.text.strip()
        return "\n".join(self.chunk.text[start:end].strip() for start, end in self.focus)

    @property
    def heading(self) -> str:
        """Title path shown to the model and in citations."""
        return self._path(self.chunk)

    @property
    def views(self) -> tuple[str, ...]:
        """The text under its title path; of a joined passage, each two parts that follow each other.

        What is this near belongs together; words from either end of a long passage need not.
        """
        if len(self.parts) < 2:
            return (f"{self.heading}\n{self.chunk.text}",)
        return tuple(
            f"{self._path(one)}\n{self.chunk.text[one.start - self.chunk.start : two.end - self.chunk.start]}"
            for one, two in pairwise(self.parts)
        )

    def _path(self, chunk: Chunk) -> str:
        own = [h for h in chunk.headings if h != self.document.title]
        return " › ".join([self.document.title, *own])


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterVersion:
    """An immutable adapter on disk, named by digest. `base_digest` is the base model it belongs to."""

    department: str
    digest: str
    path: Path
    base_digest: str
    rank: int
    size_bytes: int

    @property
    def name(self) -> str:
        """The name a serving engine knows it by; never reused."""
        return f"{self.department}@{self.digest[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a question goes. `department is None`: the base model without an adapter.

    Then `unfamiliar` tells a question that is like none of the departments' from one between several.
    """

    department: str | None
    adapter: str | None = None
    confidence: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    unfamiliar: bool = False

    @property
    def outcome(self) -> RouteOutcome:
        """What came of routing, in a word."""
        if self.department is not None:
            return "department"
        return "none" if self.unfamiliar else "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a rule or an access policy decided, and why."""

    action: Action
    rule: str
    reason: str
    version: int = 1
    stage: Stage = "input"
    mode: Literal["enforce", "shadow"] = "enforce"
    text: str = ""

    @property
    def blocks(self) -> bool:
        """Whether this decision ends the question without a generated answer."""
        return self.mode == "enforce" and self.action in ("deny", "abstain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. `temperature == 0` is greedy; `top_k == 0`, `top_p == 1`, `min_p == 0` are off.

    `min_p` drops tokens less likely than that share of the likeliest one. `repetition_penalty` divides
    the scores of tokens that stand in prompt or completion, `presence_penalty` is taken off those that
    stand in the completion. `stop` strings end the text before they appear in it. `logprobs` asks for
    the log-probability of each token and of so many alternatives, as the model gives them before any
    of these settings; None asks for none.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    logprobs: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, by whom. `department` is an explicit choice; None lets the router decide.

    `caller` is the API key the question came through, for the record.
    """

    text: str
    user: User
    department: str | None = None
    history: tuple[Message, ...] = ()
    sampling: Sampling | None = None
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a sentence of the answer stands. `quote == document_text[start:end]`."""

    number: int
    document_id: str
    source: str
    uri: str
    title: str
    page: int | None
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that an answer stands in the audit log.

    `id` names the answer; `index` is its leaf in the log (0-based), `leaf_hash` its RFC 6962 leaf
    hash, `root_hash` and `tree_size` the signed tree head that covers it. Hashes in hex.
    """

    id: str
    index: int
    leaf_hash: str
    tree_size: int
    root_hash: str
    recorded_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The whole result of one question. `cut` says that the model was stopped at its token limit."""

    text: str
    status: Status
    citations: tuple[Citation, ...]
    route: Route
    receipt: Receipt
    decisions: tuple[Decision, ...] = ()
    passages: tuple[Passage, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut: bool = False
