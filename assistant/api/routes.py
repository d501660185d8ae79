"""The routes of the HTTP API. Each makes a Question, calls the pipeline, and shapes what comes back."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from assistant.api import schemas
from assistant.api.auth import Caller, TheApp, TheCaller
from assistant.api.completions import PREFIX, Completion, CompletionRequest, completion
from assistant.api.limits import while_connected
from assistant.api.metrics import exposition
from assistant.api.openapi import CHUNK
from assistant.api.proof import proof
from assistant.api.stream import Streamed, begun, lines
from assistant.app import App
from assistant.chat import MAX_QUESTION_CHARACTERS
from assistant.errors import BadRequest, Forbidden, TooLarge, Unknown
from assistant.types import Answer, Message, Question, Sampling, User

RECEIPT_HEADER = "X-Assistant-Receipt"
FAILURES: dict[int | str, dict[str, object]] = {
    "4XX": {
        "model": schemas.ErrorBody,
        "description": "The request cannot be answered as it is; 429 carries Retry-After in seconds.",
    },
    "5XX": {"model": schemas.ErrorBody, "description": "The assistant cannot answer now."},
}
_COMPLETED: dict[int | str, dict[str, object]] = {
    200: {
        "model": Completion,
        "description": "The completion; with `stream` its chunks as server-sent events, ended by [DONE].",
        "content": {"text/event-stream": {"schema": CHUNK}},
        "headers": {RECEIPT_HEADER: {"description": "id of the receipt", "schema": {"type": "string"}}},
    },
}
router = APIRouter(responses=FAILURES)


@router.post("/v1/chat/completions", response_model=None, responses=_COMPLETED, tags=["answers"])
async def complete(body: CompletionRequest, request: Request, caller: TheCaller) -> Response:
    """Answer the last message, OpenAI-compatible; citations and receipt ride under `assistant`."""
    if name := body.unsupported:
        why = ": rules edit answers sentence by sentence, after the model" if "logprobs" in name else ""
        raise BadRequest(f"The parameter `{name}` is not supported{why}.", remedy="Leave it out.")
    user = caller.user(body.user)
    *history, last = body.conversation
    asked = await _question(
        caller,
        user=user,
        text=last.content,
        history=tuple(history),
        department=_department(caller.app, user, body.model),
        sampling=body.sampling(caller.app.settings.prompt.answer_tokens),
        messages=len(body.messages),
    )
    if not body.stream:
        answer = await _answered(caller.app, asked, request)
        content = completion(answer, body.model, int(time.time())).model_dump(mode="json")
        return JSONResponse(content, headers=_headers(answer.receipt.id))
    events = caller.app.chat.stream(asked)
    id, first = await begun(events, request)
    return Streamed(lines(id, events, first, body), events, _headers(id))


@router.post("/v1/answers", tags=["answers"])
async def answer(
    body: schemas.AnswerRequest, request: Request, response: Response, caller: TheCaller
) -> schemas.AnswerBody:
    """Answer a question with all that belongs to it: status, citations, route, receipt."""
    user = caller.user(body.user)
    if body.department is not None:
        _permitted(caller.app, user, body.department)
    asked = await _question(
        caller,
        user=user,
        text=body.question,
        history=schemas.turns(body.history),
        department=body.department,
        sampling=body.sampling(caller.app.settings.prompt.answer_tokens),
        messages=len(body.history) + 1,
    )
    whole = await _answered(caller.app, asked, request)
    response.headers.update(_headers(whole.receipt.id))
    return schemas.answer_body(whole)


@router.get("/v1/models", tags=["answers"])
async def models(caller: TheCaller) -> schemas.ModelList:
    """List the models this caller may use: the router, and one for each permitted department."""
    app, user = caller.app, caller.user()
    allowed = [d for d in app.adapters.departments() if app.access.may_ask(user, d).action == "allow"]
    names = [schemas.MODEL, *(f"{schemas.MODEL}/{department}" for department in allowed)]
    return schemas.ModelList(
        data=tuple(schemas.ModelBody(id=name, owned_by=app.settings.company) for name in names)
    )


@router.get("/v1/receipts/{id}", tags=["audit"])
async def receipt(id: str, caller: TheCaller) -> schemas.ProofBody:
    """Return an answer's entries with an inclusion proof against today's signed head.

    Only its asker and those who may audit see it; to others it does not exist. A completion's id
    names its receipt too.
    """
    return await asyncio.to_thread(proof, caller.app, caller.user(), id.removeprefix(PREFIX))


@router.get("/healthz", tags=["operations"])
async def healthy() -> schemas.Health:
    """Say that the process lives."""
    return schemas.Health(status="ok")


@router.get("/readyz", tags=["operations"])
async def ready(app: TheApp) -> schemas.Health:
    """Say that models, database and log are loaded and usable; 503 if one is not."""
    await asyncio.to_thread(app.documents.change_number)
    await asyncio.to_thread(app.log.checkpoint)
    return schemas.Health(status="ready", model=app.settings.models.base)


@router.get("/metrics", response_class=PlainTextResponse, tags=["operations"])
async def metrics(request: Request, caller: TheCaller) -> Response:
    """Return the engine's figures in Prometheus' text form, or as OpenMetrics if that is accepted.

    For those who may manage the workspace: it names departments and tells how busy they are.
    """
    allowed = caller.app.access.may(caller.user(), "manage")
    if allowed.action != "allow":
        raise Forbidden("Metrics are for those who may manage the workspace.")
    found = await asyncio.to_thread(exposition, caller.app, request.headers.get("accept", ""))
    return Response(found.text, headers={"Content-Type": found.media_type, "Cache-Control": "no-store"})


async def _question(
    caller: Caller,
    *,
    user: User,
    text: str,
    history: tuple[Message, ...],
    department: str | None,
    sampling: Sampling,
    messages: int,
) -> Question:
    """Make the question, within the server's limits.

    Raises:
        TooLarge: too many messages or tokens.
    """
    limits = caller.app.settings.serve
    if messages > limits.max_messages:
        raise TooLarge(f"{messages} messages were sent; {limits.max_messages} are allowed.")
    if len(text) <= MAX_QUESTION_CHARACTERS:  # the pipeline refuses longer ones, without counting tokens
        tokens = await asyncio.to_thread(caller.app.engine.count_tokens, text)
        if tokens > limits.max_question_tokens:
            raise TooLarge(f"The question has {tokens} tokens; {limits.max_question_tokens} are allowed.")
    return Question(
        text=text,
        user=user,
        department=department,
        history=history,
        sampling=sampling,
        caller=caller.key.id,
    )


def _department(app: App, user: User, model: str) -> str | None:
    """Return the department a model name asks for; None for the router."""
    if model == schemas.MODEL:
        return None
    prefix, _, department = model.partition("/")
    if prefix != schemas.MODEL or not department:
        raise Unknown(f"No model {model!r}.", remedy="GET /v1/models lists yours.")
    _permitted(app, user, department)
    return department


def _permitted(app: App, user: User, department: str) -> None:
    """Make a department that may not be asked look like one that is not there."""
    known = department in app.adapters.departments()
    if not known or app.access.may_ask(user, department).action != "allow":
        raise Unknown(f"No department {department!r}.", remedy="GET /v1/models lists yours.")


async def _answered(app: App, asked: Question, request: Request) -> Answer:
    return await while_connected(request, app.chat.answer(asked))


def _headers(receipt_id: str) -> dict[str, str]:
    return {RECEIPT_HEADER: receipt_id, "Cache-Control": "no-store"}
