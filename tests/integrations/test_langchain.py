from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from assistant.engine.base import Delta
from assistant.errors import BadRequest, TooLarge, Unknown
from assistant.integrations.langchain import (
    AssistantChatModel,
    AssistantRetriever,
    prompt_template,
    prompt_variables,
)
from assistant.prompt import Source, layout
from assistant.testing.engine import FakeEngine
from assistant.testing.workspace import workspace
from assistant.types import Message

LEAVE = "How long is parental leave?"
BANDS = "What is the salary band of a senior engineer?"
SAID = "Parental leave lasts 18 weeks and is paid in full [1]."


class Talkative(FakeEngine):
    """Answers the question on leave in two sentences."""

    async def generate(self, request):
        if LEAVE not in request.messages[-1].content:
            async for delta in super().generate(request):
                yield delta
            return
        yield Delta(text=f"{SAID} It is ")
        yield Delta(
            text="requested with form HR-12 [1].", finish="stop", prompt_tokens=9, completion_tokens=9
        )


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return workspace(tmp_path_factory.mktemp("langchain") / "workspace", engine=Talkative())


@pytest.fixture
def model(app):
    return AssistantChatModel(app=app, user="ana")


def check(message, app):
    assert isinstance(message, AIMessage) and SAID in message.content
    ours = message.response_metadata
    assert ours["status"] == "answered" and ours["route"]["department"] == "hr"
    citation = ours["citations"][0]
    text = app.documents.text(citation["document_id"])
    assert text[citation["start"] : citation["end"]] == citation["quote"]
    opened, closed = app.log.of(ours["receipt"]["id"])
    assert (
        closed.position == ours["receipt"]["index"] and opened.attributes["assistant.caller"] == "langchain"
    )
    assert message.usage_metadata["total_tokens"] > 0


def test_invoke(model, app):
    check(model.invoke(LEAVE), app)


def test_invoke_inside_a_running_loop(model, app):
    async def notebook():
        return model.invoke(LEAVE)

    check(asyncio.run(notebook()), app)


def test_ainvoke(model, app):
    check(asyncio.run(model.ainvoke([SystemMessage("Be brief."), HumanMessage(LEAVE)])), app)


def test_stream(model, app):
    chunks = list(model.stream(LEAVE))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    check(whole, app)
    assert len([chunk for chunk in chunks if chunk.content]) > 1
    assert [bool(chunk.response_metadata.get("receipt")) for chunk in chunks][-1]


def test_astream(model, app):
    async def collect():
        whole = None
        async for chunk in model.astream(LEAVE):
            whole = chunk if whole is None else whole + chunk
        return whole

    check(asyncio.run(collect()), app)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_left_early_is_closed_as_interrupted(model, app, asynchronous):
    async def leave():
        stream = model.astream(LEAVE)
        async for _ in stream:
            break
        await stream.aclose()

    if asynchronous:
        asyncio.run(leave())
    else:
        stream = model.stream(LEAVE)
        next(stream)
        stream.close()
    assert app.log.entries(limit=1)[0].status == "interrupted"


def test_an_abstention_is_a_message_too(model):
    message = model.invoke(BANDS)
    assert message.response_metadata["status"] == "abstained" and "61,000" not in message.content
    streamed = "".join(chunk.content for chunk in model.stream(BANDS))
    assert streamed == message.content


def test_the_user_and_the_department_are_fields(app):
    assert "61,000" in AssistantChatModel(app=app, user="grete").invoke(BANDS).content
    legal = AssistantChatModel(app=app, user="ana", department="legal").invoke(LEAVE)
    assert legal.response_metadata["route"]["department"] == "legal"
    denied = AssistantChatModel(app=app, user="kim", department="legal").invoke(LEAVE)
    assert denied.response_metadata["status"] == "denied"
    with pytest.raises(Unknown, match="nobody"):
        AssistantChatModel(app=app, user="nobody").invoke(LEAVE)


def test_a_conversation(model):
    said = model.invoke([HumanMessage(LEAVE), AIMessage("18 weeks."), HumanMessage("Is it paid?")])
    assert "paid in full" in said.content


def test_options_and_stop_strings(model, app):
    message = model.bind(temperature=0.5, seed=3, max_tokens=60).invoke(LEAVE, stop=["HR-12"])
    attributes = app.log.of(message.response_metadata["receipt"]["id"])[0].attributes
    assert attributes["gen_ai.request.temperature"] == 0.5
    assert attributes["gen_ai.request.seed"] == 3
    assert attributes["gen_ai.request.max_tokens"] == 60
    with pytest.raises(BadRequest, match="colour"):
        model.invoke(LEAVE, colour="red")


@pytest.mark.parametrize(
    "messages",
    [[SystemMessage("x")], [AIMessage("x")], [HumanMessage(LEAVE), ToolMessage("x", tool_call_id="1")]],
)
def test_messages_that_hold_no_question(model, messages):
    with pytest.raises(BadRequest):
        model.invoke(messages)
    with pytest.raises(BadRequest):
        list(model.stream(messages))


def test_errors_come_through(model):
    with pytest.raises(BadRequest, match="empty"):
        model.invoke(" ")
    with pytest.raises(TooLarge):
        list(model.stream("x" * 30_000))


def test_in_a_chain(model):
    chain = ChatPromptTemplate.from_messages([("human", "How long is {what}?")]) | model | StrOutputParser()
    assert SAID in chain.invoke({"what": "parental leave"})


def test_callbacks_see_every_piece(model):
    from langchain_core.callbacks import BaseCallbackHandler

    class Heard(BaseCallbackHandler):
        def __init__(self):
            self.pieces = []

        def on_llm_new_token(self, token, **kwargs):
            self.pieces.append(token)

    heard = Heard()
    text = "".join(chunk.content for chunk in model.stream(LEAVE, config={"callbacks": [heard]}))
    assert "".join(heard.pieces) == text


def test_the_models_repr_holds_no_application(model):
    assert "App" not in repr(model)


def test_the_retriever_finds_what_the_user_may_read(app):
    documents = AssistantRetriever(app=app, user="grete").invoke(BANDS)
    assert documents[0].metadata["uri"] == "hr/managers/bands.md"
    uris = {d.metadata["uri"] for d in AssistantRetriever(app=app, user="ana", limit=50).invoke(BANDS)}
    assert "hr/managers/bands.md" not in uris and "engineering/deploy.md" not in uris


def test_a_retrieved_document_knows_its_place(app):
    first, *_ = asyncio.run(AssistantRetriever(app=app, user="ana", limit=1).ainvoke(LEAVE))
    about = first.metadata
    text = app.documents.text(about["document_id"])
    assert text[about["start"] : about["end"]] == first.page_content
    assert (about["source"], about["title"], about["heading"]) == ("sample", "Leave", "Leave")
    assert about["score"] > 0 and about["classification"] == "internal" and first.id


def test_the_retriever_refuses_an_unknown_user(app):
    with pytest.raises(Unknown):
        AssistantRetriever(app=app, user="nobody").invoke(LEAVE)


PROMPTS = [
    {"style": "Be  brief.\n Be kind.", "question": LEAVE, "sources": []},
    {
        "style": "Be brief.",
        "question": LEAVE,
        "sources": [Source(title="A › B", text="One {two} three.\nFour.")],
    },
    {
        "style": "{odd} %s $x",
        "question": "What is {this}? {{that}}",
        "sources": [Source(title="A", text="x"), Source(title="{B}", text="[1] y\n\nz")],
        "history": [
            Message(role="user", content="Hello {name}"),
            Message(role="assistant", content="Hi [1]."),
        ],
    },
]


@pytest.mark.parametrize("parts", PROMPTS)
def test_the_template_is_the_composed_prompt_message_for_message(parts):
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    messages = prompt_template().format_messages(**prompt_variables(**parts))
    assert [(roles[m.type], m.content) for m in messages] == [(m.role, m.content) for m in layout(**parts)]


def test_the_templates_variables():
    assert set(prompt_template().input_variables) == {"style", "passages", "question"}
    assert set(prompt_template().optional_variables) == {"history"}
