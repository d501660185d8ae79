from __future__ import annotations

import pytest

from assistant.api.search import SearchBody

LEAVE = "How long is parental leave?"


def search(service, question=LEAVE, user="ana", **more):
    return service.post("/v1/search", {"question": question, **more}, user)


def found(service, *arguments, **more):
    response = search(service, *arguments, **more)
    assert response.status_code == 200 and response.headers["cache-control"] == "no-store"
    return SearchBody.model_validate(response.json())


def test_passages_come_with_scores_and_reasons(service):
    first = found(service).passages[0]
    assert first.uri == "hr/leave.md" and "18 weeks" in first.text
    assert first.lexical_rank == 1 and "parental" in first.words
    assert "words #1" in first.reason
    assert service.app.documents.text(first.document_id)[first.start : first.end] == first.text


def test_an_answer_stands_on_what_search_finds(service):
    answer = service.post("/v1/answers", {"question": LEAVE}, "ana").json()
    places = {(passage.document_id) for passage in found(service, limit=50).passages}
    assert {citation["document_id"] for citation in answer["citations"]} <= places


def test_what_may_not_be_read_is_not_found(service):
    question = "What is the salary band of a senior engineer?"
    assert any("bands" in passage.uri for passage in found(service, question, user="grete").passages)
    hidden = search(service, question, user="ana").text
    assert "bands" not in hidden and "61,000" not in hidden


def test_a_follow_up_is_searched_standing_alone(service):
    history = [{"role": "user", "content": LEAVE}, {"role": "assistant", "content": "18 weeks."}]
    body = found(service, "Is it paid?", history=history)
    assert body.question == f"{LEAVE} Is it paid?"
    assert body.passages[0].uri == "hr/leave.md"


def test_the_limit_holds(service):
    assert len(found(service, limit=1).passages) == 1


@pytest.mark.parametrize(
    "body", [{}, {"question": " "}, {"question": "x", "limit": 0}, {"question": "x", "limit": 51}]
)
def test_a_body_that_is_no_search(service, body):
    assert service.post("/v1/search", body).status_code == 400


def test_it_needs_a_key(service):
    with service.client() as client:
        assert client.post("/v1/search", json={"question": LEAVE}).status_code == 401
