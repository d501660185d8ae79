"""OpenAI's chat completion on the wire: request, response, chunks. Our own part rides under `assistant`.

It owns the mapping from OpenAI's form to ours and back; it calls nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from assistant.api.schemas import (
    MODEL,
    Body,
    ChatMessage,
    Drawn,
    Extension,
    Finish,
    UsageBody,
    extension,
    finish_reason,
    turns,
    usage,
)
from assistant.errors import BadRequest
from assistant.types import Answer, Message

PREFIX = "chatcmpl-"


def _absent(value: object) -> bool:
    return value is None


class StreamOptions(Body):
    """Options of a streamed response."""

    include_usage: bool = False


class ResponseFormat(Body):
    """The form of the answer; only text is made."""

    type: str = "text"


class CompletionRequest(Drawn):
    """POST /v1/chat/completions. `model` is `assistant` or `assistant/DEPARTMENT`.

    Messages of role system or developer are not passed on: the department's style and the rules
    decide. What is not listed here is ignored, as long as leaving it out cannot change the answer.
    """

    model: str = MODEL
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="the end user an app's key acts for")
    n: int | None = None
    tools: tuple[object, ...] | None = None
    functions: tuple[object, ...] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None

    @property
    def unsupported(self) -> str | None:
        """The name of a parameter that cannot be honoured, if one is used.

        Log-probabilities belong to what the model said; rules edit that sentence by sentence before it is
        an answer.
        """
        asked = {
            "n": self.n not in (None, 1),
            "tools": self.tools,
            "functions": self.functions,
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
            "response_format": self.response_format and self.response_format.type != "text",
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": self.logit_bias,
        }
        return next((name for name, used in asked.items() if used), None)

    @property
    def with_usage(self) -> bool:
        """Whether the stream ends with a chunk that says the tokens used."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The turns; the last one is the question.

        Raises:
            BadRequest: the last message is not the user's.
        """
        messages = turns(self.messages)
        if not messages or messages[-1].role != "user" or self.messages[-1].role != "user":
            raise BadRequest("The last message must be the user's question.")
        return messages


class SaidMessage(Body):
    """The message of a choice."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


class Choice(Body):
    """The one choice of a completion."""

    index: int = 0
    message: SaidMessage
    finish_reason: Finish
    logprobs: None = None


class Completion(Body):
    """A chat.completion object."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: UsageBody
    assistant: Extension


class DeltaBody(Body):
    """What a chunk adds."""

    role: Literal["assistant"] | None = Field(None, exclude_if=_absent)
    content: str | None = Field(None, exclude_if=_absent)


class ChunkChoice(Body):
    """The one choice of a chunk."""

    index: int = 0
    delta: DeltaBody
    finish_reason: Finish | None = None
    logprobs: None = None


class Chunk(Body):
    """A chat.completion.chunk object. The one that carries `finish_reason` also carries `assistant`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: UsageBody | None = Field(None, exclude_if=_absent)
    assistant: Extension | None = Field(None, exclude_if=_absent)


def completion(answer: Answer, model: str, created: int) -> Completion:
    """Return the completion of an answer."""
    choice = Choice(message=SaidMessage(content=answer.text), finish_reason=finish_reason(answer))
    return Completion(
        id=f"{PREFIX}{answer.receipt.id}",
        created=created,
        model=model,
        choices=(choice,),
        usage=usage(answer),
        assistant=extension(answer),
    )


def text_chunk(id: str, model: str, created: int, delta: DeltaBody) -> Chunk:
    """Return a chunk that adds to the text."""
    return Chunk(id=id, created=created, model=model, choices=(ChunkChoice(delta=delta),))


def last_chunk(id: str, model: str, created: int, answer: Answer) -> Chunk:
    """Return the chunk that ends the text and carries citations, route, receipt and status."""
    choice = ChunkChoice(delta=DeltaBody(), finish_reason=finish_reason(answer))
    return Chunk(id=id, created=created, model=model, choices=(choice,), assistant=extension(answer))


def usage_chunk(id: str, model: str, created: int, answer: Answer) -> Chunk:
    """Return the chunk without choices that says the tokens used."""
    return Chunk(id=id, created=created, model=model, choices=(), usage=usage(answer))
