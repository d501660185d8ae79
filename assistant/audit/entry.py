"""One entry of the log: its schema and its canonical bytes.

Entries hold digests, identifiers and decisions; texts live sealed beside the log. Attribute names
follow OpenTelemetry's GenAI conventions where they exist; `assistant.*` ones are ours.
"""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict

from assistant.types import Action, RouteOutcome, Stage, Status

Kind = Literal[
    "question.opened",
    "answer.closed",
    "document.removed",
    "ingest.finished",
    "adapter.trained",
    "key.created",
    "key.revoked",
]
MAX_BYTES = 65_535
"""What the 16-bit length of a C2SP entry bundle can say."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RouteRecord(_Model):
    """The route as decided. `outcome` is None in entries from before it was recorded."""

    department: str | None
    adapter: str | None
    confidence: float
    reason: str
    outcome: RouteOutcome | None = None


class PassageRecord(_Model):
    """One passage handed to the model: which characters of which content of which document.

    `start` and `end` hold all that may have been shown; `chunk_id` is where they begin, of several joined.
    """

    number: int
    document_id: str
    source: str
    uri: str
    content_digest: str
    chunk_id: int
    start: int
    end: int
    score: float
    cited: bool = False


class DecisionRecord(_Model):
    """One decision of a rule or of access control."""

    action: Action
    rule: str
    version: int
    stage: Stage
    mode: Literal["enforce", "shadow"]
    reason: str


class Draft(_Model):
    """An entry before the log gives it its place and time. `id` names the answer or the subject."""

    kind: Kind
    id: str
    user: str
    status: Status | None = None
    route: RouteRecord | None = None
    passages: tuple[PassageRecord, ...] = ()
    decisions: tuple[DecisionRecord, ...] = ()
    attributes: dict[str, str | int | float | bool | None] = {}
    digests: dict[str, str] = {}


class Entry(Draft):
    """A leaf of the log. `position` is its own place, so a moved entry contradicts itself."""

    schema_version: Literal[1] = 1
    position: int
    recorded_at: str

    def canonical(self) -> bytes:
        """Return the bytes that are hashed: JSON with sorted keys, no spaces, UTF-8."""
        return json.dumps(
            self.model_dump(mode="json"),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        ).encode()


class Body(_Model):
    """What is sealed beside an entry. `salt` makes the entry's text digests unguessable."""

    salt: str
    question: str
    history: tuple[tuple[str, str], ...] = ()
    prompt: tuple[tuple[str, str], ...] = ()
    answer: str = ""
