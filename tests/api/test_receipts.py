from __future__ import annotations

import pytest

from assistant.audit.entry import Draft, Entry
from assistant.audit.merkle import leaf_hash, root_from_inclusion


@pytest.fixture(scope="module")
def answered(service):
    return service.complete().json()["assistant"]["receipt"]


def test_the_proof_leads_from_the_entry_to_the_signed_head(service, answered):
    for _ in range(3):
        service.complete("What is the salary band of a senior engineer?")
    body = service.get(f"/v1/receipts/{answered['id']}").json()
    receipt = body["receipt"]
    opened, closed = (Entry.model_validate(entry) for entry in body["entries"])
    assert (opened.kind, closed.kind) == ("question.opened", "answer.closed")
    assert receipt["index"] == closed.position == answered["index"]
    leaf = leaf_hash(closed.canonical())
    assert leaf.hex() == receipt["leaf_hash"] == answered["leaf_hash"]
    path = [bytes.fromhex(node) for node in body["inclusion_proof"]]
    root = root_from_inclusion(leaf, receipt["index"], receipt["tree_size"], path)
    assert root.hex() == receipt["root_hash"]
    assert receipt["tree_size"] > answered["tree_size"]
    size = body["checkpoint"].split("\n")[1]
    assert size == str(receipt["tree_size"])


def test_a_completions_id_names_its_receipt(service, answered):
    assert service.get(f"/v1/receipts/chatcmpl-{answered['id']}").status_code == 200


def test_to_others_it_does_not_exist(service, answered):
    forbidden = service.get(f"/v1/receipts/{answered['id']}", user="grete")
    missing = service.get("/v1/receipts/ans-0", user="grete")
    assert forbidden.status_code == missing.status_code == 404
    assert forbidden.text.replace(answered["id"], "ans-0") == missing.text


def test_who_may_audit_sees_it(service, answered):
    assert service.get(f"/v1/receipts/{answered['id']}", user="dmitri").status_code == 200


def test_entries_that_are_no_answers_are_not_shown(service):
    service.app.log.append(Draft(kind="key.created", id="key-1", user="ana"))
    for user in ("ana", "dmitri"):
        assert service.get("/v1/receipts/key-1", user=user).status_code == 404


def test_a_refused_question_has_a_receipt_too(service):
    receipt = service.complete("Can you give me medical advice?").json()["assistant"]["receipt"]
    (entry,) = service.get(f"/v1/receipts/{receipt['id']}").json()["entries"]
    assert entry["status"] == "denied" and entry["decisions"][0]["rule"] == "no-medical-advice"
    assert "medical" not in str(entry["digests"])
