"""The bodies of the HTTP API, as pydantic models: our own answer, and what OpenAI's shares with it.

It owns the wire form and its mapping from the values of `assistant.types`; it calls nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from assistant.audit.entry import Entry
from assistant.errors import BadRequest
from assistant.types import Action, Answer, Message, Receipt, RouteOutcome, Sampling, Stage, Status

MODEL = "assistant"
MAX_STOPS = 4
Finish = Literal["stop", "length", "content_filter"]


def _encodable(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("half of a surrogate pair is not text")
    return text


Words = Annotated[str, AfterValidator(_encodable)]
Stop = Annotated[Words, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """Base of every body: what it does not know is ignored, as OpenAI's clients expect."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Part(Body):
    """A part of a message's content; only text is understood."""

    type: str
    text: Words = ""


class ChatMessage(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Words | tuple[Part, ...]

    @property
    def text(self) -> str:
        """The message's text, parts joined.

        Raises:
            BadRequest: a part that is not text.
        """
        if isinstance(self.content, str):
            return self.content
        for part in self.content:
            if part.type != "text":
                raise BadRequest(f"Content of type {part.type!r} is not supported.", remedy="Send text.")
        return "\n".join(part.text for part in self.content)


class Drawn(Body):
    """How tokens are drawn; unset means the workspace's defaults.

    Beyond OpenAI's: `top_k`, `min_p` and `repetition_penalty`, as vLLM names them.
    """

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31)
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[tuple[Stop, ...], Field(max_length=MAX_STOPS)] | None = None
    max_tokens: int | None = Field(None, ge=1, lt=2**31)
    max_completion_tokens: int | None = Field(None, ge=1, lt=2**31)

    def sampling(self, default_max_tokens: int) -> Sampling:
        """Return the sampling asked for."""
        return Sampling(
            temperature=self.temperature or 0.0,
            top_p=self.top_p or 1.0,
            top_k=self.top_k or 0,
            min_p=self.min_p or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            repetition_penalty=self.repetition_penalty or 1.0,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else self.stop or (),
            max_tokens=self.max_completion_tokens or self.max_tokens or default_max_tokens,
        )


class AnswerRequest(Drawn):
    """POST /v1/answers."""

    question: Words
    department: str | None = Field(None, description="unset: the router decides")
    history: tuple[ChatMessage, ...] = ()
    user: str | None = Field(None, description="the end user an app's key acts for")


class CitationBody(Body):
    """Where a sentence stands: characters `start`–`end` of the document's stored text."""

    number: int
    document_id: str
    source: str
    uri: str
    title: str
    page: int | None
    start: int
    end: int
    quote: str


class RouteBody(Body):
    """Which department answered, with which adapter, and how sure the router was."""

    department: str | None
    adapter: str | None
    confidence: float
    scores: dict[str, float]
    reason: str
    outcome: RouteOutcome = Field(
        description="`department`: one of them; `unsure`: between several; `none`: none of ours"
    )


class ReceiptBody(Body):
    """The answer's place in the audit log. Hashes in hex, RFC 6962."""

    id: str
    index: int
    leaf_hash: str
    tree_size: int
    root_hash: str
    recorded_at: str


class DecisionBody(Body):
    """A rule's decision, as far as the asker may know it."""

    action: Action
    rule: str
    version: int
    stage: Stage


class Extension(Body):
    """What rides on an OpenAI-compatible response beside its own fields."""

    status: Status
    citations: tuple[CitationBody, ...]
    route: RouteBody
    receipt: ReceiptBody
    decisions: tuple[DecisionBody, ...]


class UsageBody(Body):
    """Tokens used."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerBody(Extension):
    """The whole answer."""

    text: str
    usage: UsageBody


class ModelBody(Body):
    """A model name the caller may use."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class ModelList(Body):
    """GET /v1/models."""

    object: Literal["list"] = "list"
    data: tuple[ModelBody, ...]


class ProofBody(Body):
    """GET /v1/receipts/ID: the answer's entries, and the proof that the last of them is in the log."""

    receipt: ReceiptBody
    entries: tuple[Entry, ...]
    inclusion_proof: tuple[str, ...] = Field(description="sibling hashes in hex, from leaf to root")
    checkpoint: str = Field(description="the signed tree head that the receipt's root is of")


class Health(Body):
    """GET /healthz and /readyz."""

    status: Literal["ok", "ready"]
    model: str | None = None


class ErrorDetail(Body):
    """What is wrong, and what to do next."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Body):
    """Every error, in OpenAI's shape."""

    error: ErrorDetail


def turns(messages: Iterable[ChatMessage]) -> tuple[Message, ...]:
    """Return a conversation's turns of user and assistant; other roles are not passed on."""
    return tuple(
        Message(role=each.role, content=each.text) for each in messages if each.role in ("user", "assistant")
    )


def extension(answer: Answer) -> Extension:
    """Return the extension of an answer."""
    return Extension.model_validate(_fields(answer))


def answer_body(answer: Answer) -> AnswerBody:
    """Return the native body of an answer."""
    return AnswerBody.model_validate({**_fields(answer), "text": answer.text, "usage": usage(answer)})


def receipt_body(receipt: Receipt) -> ReceiptBody:
    """Return the body of a receipt."""
    return ReceiptBody.model_validate(_plain(receipt, ReceiptBody))


def usage(answer: Answer) -> UsageBody:
    """Return the tokens an answer used."""
    total = answer.prompt_tokens + answer.completion_tokens
    return UsageBody(
        prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens, total_tokens=total
    )


def finish_reason(answer: Answer) -> Finish:
    """Return OpenAI's word for how the answer ended."""
    if answer.status == "denied":
        return "content_filter"
    return "length" if answer.cut else "stop"


def _fields(answer: Answer) -> dict[str, object]:
    return {
        "status": answer.status,
        "citations": [_plain(citation, CitationBody) for citation in answer.citations],
        "route": {**_plain(answer.route, RouteBody), "scores": dict(answer.route.scores)},
        "receipt": _plain(answer.receipt, ReceiptBody),
        "decisions": [_plain(d, DecisionBody) for d in answer.decisions if d.mode == "enforce"],
    }


def _plain(value: object, schema: type[Body]) -> dict[str, object]:
    return {name: getattr(value, name) for name in schema.model_fields}
