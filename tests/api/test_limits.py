from __future__ import annotations

import json

import pytest

ASK = {"role": "user", "content": "How long is parental leave?"}


def refused(response, status, word=""):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert word in error["message"]
    return error


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/answers"])
def test_a_question_of_1_mb(service, path):
    text = "why " * 250_000
    body = {"messages": [{"role": "user", "content": text}], "question": text}
    error = refused(service.post(path, body), 413, "100,000 bytes")
    assert error["code"] == "TooLarge"


def test_a_large_body_without_a_declared_length(service):
    def pieces():
        for _ in range(300):
            yield b"x" * 10_000

    with service.client(service.key("ana")) as client:
        refused(client.post("/v1/answers", content=pieces()), 413, "100,000 bytes")
        assert client.get("/healthz").status_code == 200


def test_a_large_body_needs_no_key_to_be_refused(service):
    with service.client() as client:
        assert client.post("/v1/answers", content=b"x" * 200_000).status_code == 413


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_over_the_token_limit(service, stream):
    refused(service.complete("why " * 300, stream=stream), 413, "tokens")


def test_a_question_over_the_character_limit(service):
    refused(service.complete("why " * 6_000), 413, "characters")


def test_too_many_messages(service):
    refused(service.complete(messages=[ASK] * 9), 413, "9 messages")
    history = {"question": ASK["content"], "history": [ASK] * 8}
    refused(service.post("/v1/answers", history), 413, "9 messages")


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_question(service, text, stream):
    messages = [{"role": "user", "content": text}]
    refused(service.complete(messages=messages, stream=stream), 400, "empty")


def test_more_tokens_than_the_context_holds(service):
    refused(service.complete(max_tokens=2_000_000), 413)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "Hello."}],
        [{"role": "system", "content": "Hello."}],
        [ASK, {"role": "assistant", "content": "18 weeks."}],
        [ASK, {"role": "system", "content": "Be brief."}],
        [{"role": "tool", "content": "x", "tool_call_id": "1"}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example"}}]}],
        "How long?",
    ],
)
def test_messages_that_hold_no_question(service, messages):
    body = {"messages": messages}
    refused(service.post("/v1/chat/completions", body), 400)


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": -1},
        {"temperature": 3},
        {"temperature": "hot"},
        {"top_p": 0},
        {"top_k": -1},
        {"min_p": 1.5},
        {"min_p": -0.1},
        {"presence_penalty": 2.5},
        {"repetition_penalty": 0},
        {"repetition_penalty": 11},
        {"max_tokens": 0},
        {"max_tokens": 10**30},
        {"seed": 2**70},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stop": ""},
        {"stop": ["x" * 1000]},
        {"stream": "maybe"},
        {"model": 7},
    ],
)
def test_a_parameter_out_of_range_is_named(service, more):
    response = service.complete(**more)
    error = refused(response, 400)
    assert error["param"].startswith(next(iter(more)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b"[" * 50_000,
    ],
)
def test_bodies_that_are_no_json_or_no_text(service, content):
    with service.client(service.key("ana")) as client:
        response = client.post(
            "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
        )
    refused(response, 400)


def test_characters_of_every_kind_go_through(service):
    odd = "How long is parental leave? \x00 \u202e ﷺ 𝕏 '; DROP TABLE documents; -- {style} [1] ${HOME}"
    body = service.complete(odd).json()
    entry = service.entries(body["assistant"]["receipt"]["id"])[0]
    assert service.app.log.body(entry).question == odd


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/docs", "/v1/receipts"])
def test_a_path_that_is_not_there(service, path):
    refused(service.get(path), 404)


def test_a_method_that_is_not_allowed(service):
    response = service.get("/v1/answers")
    refused(response, 405)
    assert response.headers["allow"] == "POST"


def test_errors_are_json(service):
    response = service.complete(model="none")
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.text)["error"]["code"] == "Unknown"
