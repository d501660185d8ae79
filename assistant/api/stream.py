"""A streamed completion: events of the pipeline as server-sent events.

It owns when the first byte leaves (not before there is text, so that refusals and errors keep a status
of their own) and that generation stops when nobody reads.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import anyio
from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from assistant.api.completions import (
    PREFIX,
    CompletionRequest,
    DeltaBody,
    last_chunk,
    text_chunk,
    usage_chunk,
)
from assistant.api.errors import error_body, unexpected_body
from assistant.api.limits import while_connected
from assistant.api.schemas import ErrorBody
from assistant.errors import AssistantError
from assistant.turn import Closed, Event, Opened, Text

Events = AsyncGenerator[Event, None]


class Streamed(StreamingResponse):
    """Sends lines, and stops the events they are made of whatever happens: also before the first line."""

    def __init__(self, lines: AsyncGenerator[str, None], events: Events, headers: dict[str, str]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self._generators = (lines, events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all lines, or those until the client goes away."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                for each in self._generators:
                    await each.aclose()


async def begun(events: Events, request: Request) -> tuple[str, Text | Closed]:
    """Wait for the first text; return the answer's id with it.

    Raises:
        ClientGone: the client left first; generation has stopped.
        AssistantError: the question is refused, or could not be answered.
    """

    async def wait() -> tuple[str, Text | Closed]:
        id = ""
        async for event in events:
            match event:
                case Opened():
                    id = event.id
                case Text():
                    return id, event
                case Closed():
                    return id, event
        raise AssertionError("a stream ends with Closed")

    try:
        return await while_connected(request, wait())
    except BaseException:
        await events.aclose()
        raise


async def lines(
    id: str, events: Events, event: Text | Closed, body: CompletionRequest
) -> AsyncGenerator[str, None]:
    """Yield the server-sent events of a completion from its first event on."""
    id, created = f"{PREFIX}{id}", int(time.time())
    yield _line(text_chunk(id, body.model, created, DeltaBody(role="assistant", content="")))
    try:
        while not isinstance(event, Closed):
            yield _line(text_chunk(id, body.model, created, DeltaBody(content=event.text)))
            event = await _next(events)
    except AssistantError as error:
        yield _line(ErrorBody.model_validate(error_body(error)))
        return
    except Exception as error:  # noqa: BLE001 - the edge: the status line has left already
        yield _line(ErrorBody.model_validate(unexpected_body(error)))
        return
    yield _line(last_chunk(id, body.model, created, event.answer))
    if body.with_usage:
        yield _line(usage_chunk(id, body.model, created, event.answer))
    yield "data: [DONE]\n\n"


async def _next(events: Events) -> Text | Closed:
    async for event in events:
        if not isinstance(event, Opened):
            return event
    raise AssertionError("a stream ends with Closed")


def _line(data: BaseModel) -> str:
    return f"data: {data.model_dump_json()}\n\n"
