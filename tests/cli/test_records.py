"""Commands that change something leave an entry in the log."""

from __future__ import annotations

import sqlite3


def test_a_key_is_shown_once_listed_and_revoked(shell):
    made = shell.json("keys", "create", "--app", "portal", "--acts-for")
    assert made["secret"].startswith("ask-")
    shell("keys", "list")
    assert made["id"] in shell.out
    assert made["secret"] not in shell.out
    shell("keys", "revoke", made["id"])
    assert shell.code == 0
    kinds = [entry["kind"] for entry in shell.json("audit", "list")]
    assert kinds == ["key.revoked", "key.created"]
    assert made["secret"] not in str(shell.json("audit", "show", made["id"]))
    assert "No valid key" in shell.fails("keys", "revoke", made["id"])


def test_a_key_needs_somebody_it_speaks_for(shell):
    shell.fails("keys", "create", "--app", "portal")
    assert "nobody" in shell.fails("keys", "create", "--user", "nobody")
    shell.fails("keys", "create", "--user", "ana", "--acts-for")
    assert shell.json("keys", "list") == []


def test_a_removed_document_is_gone_from_the_next_answer(shell):
    question = "How long is parental leave?"
    assert shell.json("ask", question, "--as", "ana")["status"] == "answered"
    shell("documents", "remove", "hr/leave.md")
    assert "chunks gone" in shell.out
    assert shell.json("ask", question, "--as", "ana")["status"] == "abstained"
    removed = [e for e in shell.json("audit", "list") if e["kind"] == "document.removed"]
    assert removed[0]["attributes"]["assistant.document.uri"] == "hr/leave.md"
    assert "no document" in shell.fails("documents", "remove", "hr/leave.md")


def test_documents_by_source_and_id(shell):
    documents = shell.json("documents", "list", "--source", "sample")
    assert shell.json("documents", "list", "--source", "other") == []
    shell("documents", "remove", documents[0]["id"], f"sample:{documents[1]['uri']}")
    assert shell.code == 0
    assert len(shell.json("documents", "list")) == 2


def test_show_opens_the_sealed_texts_and_proves_inclusion(shell):
    answer = shell.json("ask", "How long is parental leave?", "--as", "ana")
    shell("audit", "show", answer["receipt"]["id"])
    assert "question   How long is parental leave?" in shell.out
    assert "18 weeks" in shell.out
    opened, closed = shell.json("audit", "show", answer["receipt"]["id"])
    assert (opened["entry"]["kind"], closed["entry"]["kind"]) == ("question.opened", "answer.closed")
    assert closed["receipt"]["leaf_hash"] == answer["receipt"]["leaf_hash"]
    assert "No entry" in shell.fails("audit", "show", "ans-none")


def test_verify_names_what_was_altered(shell):
    shell.json("ask", "How long is parental leave?", "--as", "ana")
    shell("audit", "verify")
    assert shell.out.startswith("The log holds: 2 entries")
    assert "assistant\n2\n" in shell.json("audit", "checkpoint")["checkpoint"]
    with sqlite3.connect(shell.folder / "var" / "assistant.db") as database:
        database.execute("UPDATE log_entries SET entry = replace(entry, 'ana', 'kim') WHERE position = 1")
    database.close()
    assert "does not verify" in shell.fails("audit", "verify")
    assert "entry 1:" in shell.out
    shell("audit", "verify", "--json")
    assert shell.code == 1
    assert '"holds": false' in shell.out


def test_list_is_narrowed(shell):
    for user in ("ana", "bjorn"):
        shell.json("ask", "How long is parental leave?", "--as", user)
    assert {entry["user"] for entry in shell.json("audit", "list", "--user", "ana")} == {"ana"}
    assert [entry["position"] for entry in shell.json("audit", "list", "--before", "2")] == [1, 0]
    assert len(shell.json("audit", "list", "--limit", "1")) == 1
