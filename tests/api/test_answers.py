from __future__ import annotations

import pytest

from assistant.api.schemas import AnswerBody

LEAVE = "How long is parental leave?"


def ask(service, question=LEAVE, user="ana", **more):
    return service.post("/v1/answers", {"question": question, **more}, user)


def test_the_whole_answer(service):
    response = ask(service)
    assert response.status_code == 200
    body = AnswerBody.model_validate(response.json())
    assert body.status == "answered" and "18 weeks" in body.text
    assert body.route.department == "hr" and body.route.confidence > 0 and body.route.reason
    assert body.route.outcome == "department"
    assert [entry.route.outcome for entry in service.entries(body.receipt.id)] == ["department"] * 2
    (citation,) = body.citations
    assert service.app.documents.text(citation.document_id)[citation.start : citation.end] == citation.quote
    assert body.usage.total_tokens > 0
    assert response.headers["x-assistant-receipt"] == body.receipt.id
    assert response.headers["cache-control"] == "no-store"


def test_an_explicit_department_and_sampling(service):
    body = ask(service, department="legal", max_tokens=50, temperature=0.5, top_p=0.9, seed=7).json()
    assert body["route"]["department"] == "legal"
    attributes = service.entries(body["receipt"]["id"])[0].attributes
    assert attributes["gen_ai.request.max_tokens"] == 50
    assert attributes["gen_ai.request.temperature"] == 0.5
    assert attributes["gen_ai.request.seed"] == 7


def test_a_department_not_permitted_looks_like_one_not_there(service):
    forbidden = ask(service, user="kim", department="legal")
    missing = ask(service, user="kim", department="legax")
    assert forbidden.status_code == missing.status_code == 404
    assert forbidden.text.replace("legal", "legax") == missing.text


def test_history_gives_a_follow_up_its_subject(service):
    history = [{"role": "user", "content": LEAVE}, {"role": "assistant", "content": "18 weeks."}]
    body = ask(service, "Is it paid?", history=history).json()
    assert body["citations"][0]["uri"] == "hr/leave.md"


def test_what_may_not_be_read_leaves_no_trace(service):
    body = ask(service, "What is the salary band of a senior engineer?").json()
    assert body["status"] == "abstained" and body["citations"] == []
    assert "bands" not in str(body) and "61,000" not in str(body)
    assert [d["rule"] for d in body["decisions"]] == ["enough-evidence"]


@pytest.mark.parametrize(
    "body", [{}, {"question": None}, {"question": ["a"]}, {"question": "x", "history": "y"}]
)
def test_a_body_that_is_no_question(service, body):
    assert service.post("/v1/answers", body).status_code == 400


def test_a_document_removed_is_gone_for_the_next_question(service):
    from assistant.testing.workspace import add
    from assistant.types import Labels

    labels = Labels(source="sample", principals=frozenset({"everyone"}), department="hr")
    document = add(
        service.app, "hr/canteen.md", "The canteen serves lunch until 13:45 every weekday.", labels
    )
    question = "Until when does the canteen serve lunch?"
    assert "13:45" in ask(service, question).json()["text"]
    service.app.documents.remove(document.id)
    assert ask(service, question).json()["status"] == "abstained"
