from __future__ import annotations

import pytest

from assistant.api.errors import error_body, status_of
from assistant.errors import (
    AdapterError,
    AssistantError,
    AuditError,
    BadRequest,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    Forbidden,
    Overloaded,
    StoreError,
    TooLarge,
    Unauthenticated,
    Unknown,
    Unsupported,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TooLarge("x"), 413),
        (Unknown("x"), 404),
        (BadRequest("x"), 400),
        (Unsupported("x"), 400),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (Overloaded("x", retry_after_s=1), 429),
        (DeadlineExceeded("x"), 504),
        (EngineError("x"), 503),
        (AdapterError("x"), 503),
        (AuditError("x"), 503),
        (StoreError("x"), 503),
        (ConfigError("x"), 503),
    ],
)
def test_every_error_has_its_status(error, status):
    assert status_of(error)[0] == status


def test_what_broke_inside_is_not_sent():
    body = error_body(StoreError("postgresql://user:secret@db is down"))
    assert "secret" not in str(body)


def subclasses(cls):
    return {cls}.union(*(subclasses(each) for each in cls.__subclasses__()))


def test_the_whole_tree_is_covered():
    for cls in subclasses(AssistantError):
        error = cls("x", retry_after_s=1) if cls is Overloaded else cls("x")
        assert 400 <= status_of(error)[0] < 600


@pytest.mark.parametrize("stream", [False, True])
def test_full_queues_say_when_to_come_back(served, engines, stream):
    service = served(engines.failing(Overloaded("The queue is full.", retry_after_s=2.3)))
    response = service.complete(stream=stream)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "3"
    assert response.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_took_too_long(served, engines, stream):
    service = served(engines.failing(DeadlineExceeded("The answer took longer than 2 s.")))
    response = service.complete(stream=stream)
    assert response.status_code == 504
    assert response.json()["error"]["type"] == "server_error" and "longer than 2 s" in response.text
    assert service.app.log.entries(limit=1)[0].status == "interrupted"


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_fails_before_the_first_text(served, engines, stream):
    service = served(engines.failing(EngineError("CUDA at 0xDEAD")))
    response = service.complete(stream=stream)
    assert response.status_code == 503
    assert response.json()["error"]["type"] == "server_error" and "0xDEAD" not in response.text
    assert service.app.log.entries(limit=1)[0].status == "interrupted"
    assert service.app.verify().problems == ()


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_nobody_foresaw(served, engines, stream, caplog):
    service = served(engines.failing(RuntimeError("secret of the stack")))
    response = service.complete(stream=stream)
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error" and "secret" not in response.text
    assert "secret of the stack" in caplog.text
    assert service.app.log.entries(limit=1)[0].status == "interrupted"


@pytest.mark.parametrize("error", [EngineError("CUDA at 0xDEAD"), RuntimeError("CUDA at 0xDEAD")])
def test_an_error_after_the_first_text_ends_the_stream(served, engines, error):
    service = served(engines.failing(error, after_text=True))
    *_, text, last = service.stream()
    assert "18 weeks" in text["choices"][0]["delta"]["content"]
    assert last["error"]["type"] == "server_error" and "0xDEAD" not in str(last)
    entry = service.app.log.entries(limit=1)[0]
    assert entry.status == "interrupted"
    assert "18 weeks" in service.app.log.body(entry).answer


def test_a_log_that_cannot_be_written_answers_nothing(served, engines, monkeypatch):
    service = served(None)

    def fail(draft, body=None):
        raise AuditError("The disk is full.")

    monkeypatch.setattr(service.app.log, "append", fail)
    for response in (service.complete(), service.complete(stream=True)):
        assert response.status_code == 503
        assert "18 weeks" not in response.text
