"""Search over HTTP: the passages a question finds among what the caller may read, and why.

It is the search that answers stand on, called by the same function; it generates nothing and records
nothing.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from pydantic import Field

from assistant.api.auth import TheCaller
from assistant.api.routes import FAILURES
from assistant.api.schemas import Body, ChatMessage, Words, turns
from assistant.errors import TooLarge
from assistant.types import Question

router = APIRouter(responses=FAILURES, tags=["answers"])


class SearchRequest(Body):
    """POST /v1/search."""

    question: Words
    history: tuple[ChatMessage, ...] = ()
    limit: int = Field(5, ge=1, le=50)
    user: str | None = Field(None, description="the end user an app's key acts for")


class FoundPassage(Body):
    """A passage: characters `start`–`end` of the document's stored text, its scores and its reason."""

    document_id: str
    source: str
    uri: str
    heading: str = Field(description="the document's title and the headings above the passage")
    page: int | None
    start: int
    end: int
    text: str
    score: float
    similarity: float = Field(description="cosine of question and passage")
    coverage: float = Field(description="share of the question's words that it holds, weighted by rarity")
    dense_rank: int | None = Field(description="its place by meaning, from 1")
    lexical_rank: int | None = Field(description="its place by words, from 1")
    words: tuple[str, ...] = Field(description="the question's words it holds, the rarest first")
    also: tuple[str, ...] = Field(description="copies, as source:path, in which the passage stands as well")
    reranker_score: float | None = Field(description="what the cross-encoder gives it, if one is configured")
    reason: str


class SearchBody(Body):
    """What was found, best first."""

    question: str = Field(description="the question as it was searched: standing alone, and respelled")
    spelled: dict[str, str] = Field(description="words no readable document holds, and what was searched")
    passages: tuple[FoundPassage, ...]


@router.post("/v1/search")
async def search(body: SearchRequest, response: Response, caller: TheCaller) -> SearchBody:
    """Find passages for a question, with scores and the reason for each place; generates nothing."""
    user = caller.user(body.user)
    if len(body.history) >= caller.app.settings.serve.max_messages:
        raise TooLarge(f"{len(body.history) + 1} messages were sent; fewer are allowed.")
    asked = Question(text=body.question, user=user, history=turns(body.history), caller=caller.key.id)
    found = await asyncio.to_thread(caller.app.chat.find, asked, body.limit)
    response.headers["Cache-Control"] = "no-store"
    return SearchBody(
        question=found.question,
        spelled=dict(found.spelled),
        passages=tuple(FoundPassage.model_validate(each.plain) for each in found.ranked),
    )
