"""Our parts as LangChain components: a retriever, a chat model, and the grounded prompt as a template.

It owns translation between LangChain's values and ours. What a component returns has passed the same
access check, rules and log as any other answer; nothing here goes around the pipeline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from anyio.from_thread import start_blocking_portal
from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from assistant.app import App
from assistant.errors import BadRequest
from assistant.prompt import SYSTEM, Source
from assistant.turn import Closed, Event, Text
from assistant.types import Answer, Message, Passage, Question, Sampling


class AssistantRetriever(BaseRetriever):
    """The passages that a user may read, best first, as LangChain documents."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    app: App = Field(exclude=True, repr=False)
    user: str = Field(description="an id of people.yaml; its permissions hold")
    limit: int = Field(4, ge=1)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        user = self.app.people.user(self.user)
        permitted = self.app.permissions.permitted(user)
        candidates = self.app.settings.retrieval.candidates
        passages = self.app.search.search(query, permitted, limit=self.limit, candidates=candidates)
        return [_document(passage) for passage in passages]


class AssistantChatModel(BaseChatModel):
    """The whole pipeline as a chat model, in this process, for one user.

    The last message must be the user's question. System messages are not passed on: the department's
    style and the rules decide. Citations, receipt, route and status are in `response_metadata`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    app: App = Field(exclude=True, repr=False)
    user: str = Field(description="an id of people.yaml; its permissions hold")
    department: str | None = Field(None, description="None: the router decides")
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    seed: int | None = None

    @property
    def _llm_type(self) -> str:
        return "assistant"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"user": self.user, "department": self.department}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - LangChain's signature
    ) -> ChatResult:
        asked = self._question(messages, stop, kwargs)
        with start_blocking_portal() as portal:
            return _result(portal.call(self.app.chat.answer, asked))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - LangChain's signature
    ) -> ChatResult:
        return _result(await self.app.chat.answer(self._question(messages, stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - LangChain's signature
    ) -> Iterator[ChatGenerationChunk]:
        asked = self._question(messages, stop, kwargs)
        with start_blocking_portal() as portal:
            events = self.app.chat.stream(asked)
            try:
                while event := portal.call(anext, events, None):
                    yield from _chunks(event)
            finally:
                portal.call(events.aclose)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ANN401 - LangChain's signature
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self.app.chat.stream(self._question(messages, stop, kwargs))) as events:
            async for event in events:
                for chunk in _chunks(event):
                    yield chunk

    def _question(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> Question:
        """Make the question of a conversation.

        Raises:
            BadRequest: the last message is not a human's, or an option is not known.
        """
        turns = [turn for message in messages if (turn := _turn(message))]
        if not turns or turns[-1].role != "user":
            raise BadRequest("The last message must be a HumanMessage: the question.")
        return Question(
            text=turns[-1].content,
            user=self.app.people.user(self.user),
            department=self.department,
            history=tuple(turns[:-1]),
            sampling=self._sampling(stop, options),
            caller="langchain",
        )

    def _sampling(self, stop: list[str] | None, options: dict[str, Any]) -> Sampling:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        if unknown := options.keys() - own.keys():
            raise BadRequest(f"Unknown options: {', '.join(sorted(unknown))}.", remedy="Leave them out.")
        drawn = {**own, **options}
        return Sampling(
            temperature=drawn["temperature"] or 0.0,
            max_tokens=drawn["max_tokens"] or self.app.settings.prompt.answer_tokens,
            seed=drawn["seed"],
            stop=tuple(stop or ()),
        )


def prompt_template() -> ChatPromptTemplate:
    """Return the grounded prompt as a LangChain template; `prompt_variables` makes what it takes.

    Its messages are those of `assistant.prompt.layout`.
    """
    return ChatPromptTemplate.from_messages(
        [
            ("system", SYSTEM),
            MessagesPlaceholder("history", optional=True),
            ("human", "{passages}Question: {question}"),
        ]
    )


def prompt_variables(
    *, style: str, question: str, sources: Sequence[Source], history: Sequence[Message] = ()
) -> dict[str, str | list[BaseMessage]]:
    """Return the variables of `prompt_template`: sources numbered from 1, earlier turns as messages."""
    numbered = (f"[{number}] {each.title}\n{each.text}\n\n" for number, each in enumerate(sources, 1))
    return {
        "style": " ".join(style.split()),
        "passages": "".join(numbered),
        "question": question,
        "history": [_message(turn) for turn in history],
    }


def _message(turn: Message) -> BaseMessage:
    kinds: dict[str, type[BaseMessage]] = {
        "system": SystemMessage,
        "user": HumanMessage,
        "assistant": AIMessage,
    }
    return kinds[turn.role](content=turn.content)


def _turn(message: BaseMessage) -> Message | None:
    match message:
        case HumanMessage():
            return Message(role="user", content=message.text)
        case AIMessage():
            return Message(role="assistant", content=message.text)
        case SystemMessage():
            return None
    raise BadRequest(f"A {message.type} message cannot be answered.", remedy="Send human and AI messages.")


def _result(answer: Answer) -> ChatResult:
    message = AIMessage(
        content=answer.text, response_metadata=_metadata(answer), usage_metadata=_usage(answer)
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunks(event: Event) -> list[ChatGenerationChunk]:
    match event:
        case Text():
            return [ChatGenerationChunk(message=AIMessageChunk(content=event.text))]
        case Closed():
            last = AIMessageChunk(
                content="",
                response_metadata=_metadata(event.answer),
                usage_metadata=_usage(event.answer),
                chunk_position="last",
            )
            return [ChatGenerationChunk(message=last)]
    return []


def _usage(answer: Answer) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=answer.prompt_tokens,
        output_tokens=answer.completion_tokens,
        total_tokens=answer.prompt_tokens + answer.completion_tokens,
    )


def _metadata(answer: Answer) -> dict[str, object]:
    route = answer.route
    return {
        "status": answer.status,
        "citations": [asdict(citation) for citation in answer.citations],
        "route": {"department": route.department, "adapter": route.adapter, "confidence": route.confidence},
        "receipt": asdict(answer.receipt),
    }


def _document(passage: Passage) -> Document:
    chunk, document = passage.chunk, passage.document
    return Document(
        id=str(chunk.id),
        page_content=chunk.text,
        metadata={
            "document_id": document.id,
            "source": document.source,
            "uri": document.uri,
            "title": document.title,
            "heading": passage.heading,
            "page": chunk.page,
            "start": chunk.start,
            "end": chunk.end,
            "dated": document.dated,
            "classification": document.access_class.labels.classification,
            "score": passage.score,
            "similarity": passage.similarity,
            "coverage": passage.coverage,
        },
    )
