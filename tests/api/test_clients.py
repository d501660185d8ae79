"""The clients people have already: OpenAI's own, and LangChain's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

from assistant.testing.engine import FakeEngine

LEAVE = "How long is parental leave?"
SAID = "Parental leave lasts 18 weeks and is paid in full [1]."
ASK = [{"role": "user", "content": LEAVE}]


@pytest.fixture
def client(service):
    with httpx.Client(verify=False, timeout=30) as transport:
        with openai.OpenAI(
            base_url=f"{service.url}/v1", api_key=service.key("ana"), http_client=transport, max_retries=0
        ) as client:
            yield client


def test_openai_completion(client, service):
    response = client.chat.completions.create(model="assistant", messages=ASK)
    assert SAID in response.choices[0].message.content
    assert response.usage.total_tokens > 0
    ours = response.model_extra["assistant"]
    assert ours["citations"][0]["uri"] == "hr/leave.md"
    assert service.entries(ours["receipt"]["id"])[-1].status == "answered"


def test_openai_stream(client):
    text, last = "", None
    options = {"include_usage": True}
    with client.chat.completions.create(
        model="assistant/hr", messages=ASK, stream=True, stream_options=options
    ) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
            last = (chunk.model_extra or {}).get("assistant") or last
            usage = chunk.usage
    assert SAID in text
    assert usage.completion_tokens > 0
    assert last["status"] == "answered" and last["route"]["department"] == "hr"
    assert "18 weeks" in last["citations"][0]["quote"] and last["receipt"]["id"].startswith("ans-")


def test_openai_stream_helper(client):
    with client.chat.completions.stream(model="assistant", messages=ASK) as stream:
        stream.until_done()
        completion = stream.get_final_completion()
    assert SAID in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"


def test_openai_end_user(service):
    _, secret = service.app.keys.create(kind="app", name="portal", acts_for=True)
    bands = [{"role": "user", "content": "What is the salary band of a senior engineer?"}]
    with httpx.Client(verify=False) as transport:
        client = openai.OpenAI(base_url=f"{service.url}/v1", api_key=secret, http_client=transport)
        said = {
            user: client.chat.completions.create(model="assistant", messages=bands, user=user)
            for user in ("grete", "ana")
        }
    assert "61,000" in said["grete"].choices[0].message.content
    assert said["ana"].model_extra["assistant"]["status"] == "abstained"


def test_openai_models_and_errors(client, service):
    assert "assistant/hr" in [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4o", messages=ASK)
    assert missing.value.code == "Unknown" and "gpt-4o" in missing.value.message
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.chat.completions.create(model="assistant", messages=[{"role": "user", "content": ""}])
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="ask-wrong").models.list()
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="assistant", messages=ASK, user="grete")
    with pytest.raises(openai.APIStatusError) as large:
        client.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "x " * 500_000}]
        )
    assert large.value.status_code == 413


def test_openai_sees_an_error_within_a_stream(served, engines):
    from assistant.errors import EngineError

    service = served(engines.failing(EngineError("broken"), after_text=True))
    with httpx.Client(verify=False) as transport:
        client = openai.OpenAI(
            base_url=f"{service.url}/v1", api_key=service.key("ana"), http_client=transport, max_retries=0
        )
        text = ""
        with pytest.raises(openai.APIError, match="cannot answer now"):
            for chunk in client.chat.completions.create(model="assistant", messages=ASK, stream=True):
                text += chunk.choices[0].delta.content or ""
    assert "18 weeks" in text


class Slow(FakeEngine):
    """Takes about two seconds for an answer, one at a time; says when it has begun one."""

    def __init__(self):
        super().__init__(queue_length=1, delay_s=0.1)
        self.begun = threading.Event()

    async def generate(self, request):
        async with aclosing(super().generate(request)) as deltas:
            async for delta in deltas:
                self.begun.set()
                yield delta


def test_openai_waits_as_long_as_it_is_told_when_queues_are_full(served):
    engine = Slow()
    service = served(engine)
    with httpx.Client(verify=False, timeout=30) as transport, ThreadPoolExecutor(1) as pool:
        client = openai.OpenAI(
            base_url=f"{service.url}/v1", api_key=service.key("ana"), http_client=transport
        )
        first = pool.submit(service.complete)
        assert engine.begun.wait(30)
        with pytest.raises(openai.RateLimitError) as refused:
            client.with_options(max_retries=0).chat.completions.create(model="assistant", messages=ASK)
        assert int(refused.value.response.headers["retry-after"]) >= 1
        assert refused.value.code == "Overloaded"
        patient = client.with_options(max_retries=5).chat.completions.with_raw_response
        answered = patient.create(model="assistant", messages=ASK)
        assert SAID in answered.parse().choices[0].message.content
        assert answered.retries_taken >= 1
        assert SAID in first.result().text


def test_openai_sends_what_is_beyond_its_own_settings(client):
    response = client.chat.completions.create(
        model="assistant",
        messages=ASK,
        presence_penalty=0.5,
        extra_body={"min_p": 0.05, "top_k": 20, "repetition_penalty": 1.1},
    )
    assert SAID in response.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="min_p"):
        client.chat.completions.create(model="assistant", messages=ASK, extra_body={"min_p": 2})
    with pytest.raises(openai.BadRequestError, match="edit answers sentence by sentence"):
        client.chat.completions.create(model="assistant", messages=ASK, logprobs=True, top_logprobs=2)


@pytest.fixture
def model(service):
    with httpx.Client(verify=False, timeout=30) as transport:
        yield ChatOpenAI(
            model="assistant",
            base_url=f"{service.url}/v1",
            api_key=service.key("ana"),
            http_client=transport,
            include_response_headers=True,
            stream_usage=True,
        )


def receipt_of(service, message):
    """LangChain keeps no unknown fields of a body, but the headers: the receipt leads to the citations."""
    id = message.response_metadata["headers"]["x-assistant-receipt"]
    entry = service.get(f"/v1/receipts/{id}").json()["entries"][-1]
    return [passage["uri"] for passage in entry["passages"] if passage["cited"]]


def test_langchain_invoke(model, service):
    message = model.invoke([SystemMessage("Be brief."), HumanMessage(LEAVE)])
    assert isinstance(message, AIMessage) and SAID in message.content
    assert message.usage_metadata["total_tokens"] > 0
    assert receipt_of(service, message) == ["hr/leave.md"]


def test_langchain_stream(model, service):
    whole = None
    for chunk in model.stream(LEAVE):
        whole = chunk if whole is None else whole + chunk
    assert SAID in whole.content
    assert whole.usage_metadata["total_tokens"] > 0
    assert receipt_of(service, whole) == ["hr/leave.md"]


def test_langchain_conversation(model):
    said = model.invoke([HumanMessage(LEAVE), AIMessage("18 weeks."), HumanMessage("Is it paid?")])
    assert "paid in full" in said.content
