from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from assistant.connectors.files import Files
from assistant.ingesting import flow
from assistant.store.documents import Documents
from assistant.testing.embedder import FakeEmbedder


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "Team notes"
    (folder / "secret").mkdir(parents=True)
    (folder / "lunch.md").write_text("# Lunch\n\nThe canteen opens at 11:45 and closes at 13:30.\n")
    (folder / "secret" / "party.md").write_text(
        "# Party\n\nThe surprise party is on 4 May in the boathouse.\n"
    )
    return folder


def test_a_folder_needs_somebody_who_may_read(shell, notes):
    assert "--access" in shell.fails("ingest", str(notes))
    assert len(shell.json("documents", "list")) == 4


def test_added_unchanged_changed_removed(shell, notes):
    shell("ingest", str(notes), "--access", "everyone", "--department", "hr")
    assert "2 added" in shell.out
    assert "of 2 documents" in shell.err
    shell("ingest", str(notes), "--access", "everyone", "--department", "hr")
    assert "2 unchanged" in shell.out
    (notes / "lunch.md").write_text("# Lunch\n\nThe canteen opens at 12:00 and closes at 13:30.\n")
    (notes / "secret" / "party.md").unlink()
    [result] = shell.json("ingest", str(notes), "--access", "everyone", "--department", "hr")
    assert (result["changed"], result["removed"], result["unchanged"]) == (1, 1, 0)
    answer = shell.json("ask", "When does the canteen open?", "--as", "kim")
    assert "12:00" in answer["text"]
    assert [e["kind"] for e in shell.json("audit", "list")].count("ingest.finished") == 3


def test_a_folder_says_itself_who_may_read(shell, notes):
    (notes / ".access.yaml").write_text("access: [everyone]\n")
    (notes / "secret" / ".access.yaml").write_text("access: ['group:managers']\n")
    [result] = shell.json("ingest", str(notes))
    documents = shell.json("documents", "list", "--source", result["source"])
    access = {d["uri"]: d["access_class"]["labels"]["principals"] for d in documents}
    assert access == {"lunch.md": ["everyone"], "secret/party.md": ["group:managers"]}


def test_one_file_leaves_its_neighbours_alone(shell, notes):
    [whole] = shell.json("ingest", str(notes), "--access", "everyone")
    [one] = shell.json("ingest", str(notes / "lunch.md"), "--access", "everyone")
    assert one["source"] == whole["source"]
    assert (one["unchanged"], one["removed"]) == (1, 0)


def test_a_connector_says_who_may_read(shell, notes):
    (shell.folder / "connectors").mkdir()
    (shell.folder / "connectors" / "notes.yaml").write_text(
        f"name: notes\nurl: {notes}\ndefault: {{access: ['group:managers']}}\n"
        "labels: [{path: '*', access: [everyone]}]\n"
    )
    assert "says who may read" in shell.fails("ingest", str(notes), "--access", "everyone")
    [result] = shell.json("ingest", str(notes / "secret"))
    assert (result["source"], result["under"], result["added"]) == ("notes", "secret", 1)
    [result] = shell.json("ingest")
    assert (result["added"], result["unchanged"]) == (1, 1)
    [result] = shell.json("ingest", "--connector", "notes")
    assert result["unchanged"] == 2
    assert "Known: notes" in shell.fails("ingest", "--connector", "other")
    assert "not inside" in shell.fails("ingest", str(shell.folder), "--connector", "notes")


def test_refused_documents_are_listed_and_the_rest_goes_on(shell, notes):
    (notes / "junk.pdf").write_bytes(b"\x00\xff" * 500)
    shell("ingest", str(notes), "--access", "everyone")
    assert shell.code == 0
    assert "2 added, 1 refused" in shell.out
    assert "refused junk.pdf:" in shell.out


def test_nothing_readable_is_a_failure(shell, tmp_path):
    folder = tmp_path / "junk"
    folder.mkdir()
    (folder / "junk.pdf").write_bytes(b"\x00\xff" * 500)
    shell("ingest", str(folder), "--access", "everyone")
    assert shell.code == 1
    assert "refused junk.pdf:" in shell.out


def test_bad_input(shell, notes):
    assert "does not exist" in shell.fails("ingest", str(notes / "nope"), "--access", "everyone")
    assert "none of everyone" in shell.fails("ingest", str(notes), "--access", "all")
    assert "nothing to ingest" in shell.fails("ingest")


def test_a_dry_run_changes_nothing(shell, notes):
    shell("ingest", str(notes), "--access", "everyone")
    (notes / "lunch.md").rename(notes / "dinner.md")
    (notes / "secret" / "party.md").unlink()
    (notes / "tea.md").write_text("# Tea\n\nTea is served at 16:00 in the garden room.\n")
    before = shell.json("documents", "list")
    shell("ingest", str(notes), "--access", "everyone", "--dry-run")
    assert "1 added, 1 renamed, 1 removed (dry run)" in shell.out and "renamed    dinner.md" in shell.out
    [told] = shell.json("ingest", str(notes), "--access", "everyone", "--dry-run")
    assert {file["uri"]: file["outcome"] for file in told["files"]} == {
        "dinner.md": "renamed",
        "tea.md": "added",
        "secret/party.md": "removed",
    }
    assert shell.json("documents", "list") == before
    shell("ingest", str(notes), "--access", "everyone")
    assert "1 added, 1 renamed, 1 removed" in shell.out


@pytest.mark.parametrize(
    "more", [(), ("--allow-mass-removal",), ("--dry-run",), ("--dry-run", "--allow-mass-removal")]
)
def test_sigterm_while_it_lists_ends_it_there(shell, notes, monkeypatch, more):
    listed, discover = [], Files.discover

    def told(self):
        for item in discover(self):
            listed.append(item)
            os.kill(os.getpid(), signal.SIGTERM)
            yield item

    monkeypatch.setattr(Files, "discover", told)
    assert "stopped before it was done" in shell.fails("ingest", str(notes), "--access", "everyone", *more)
    assert len(listed) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_signal_while_it_embeds_ends_it_there_and_the_next_run_goes_on(
    shell, notes, monkeypatch, number, code
):
    stored, embedding, threads = threading.Event(), threading.Event(), threading.active_count()
    quick, put = FakeEmbedder.embed, Documents.put

    def slow(self, texts, proceed=lambda: None):
        for _ in range(600 if any("boathouse" in text for text in texts) else 0):
            embedding.set()
            proceed()
            time.sleep(0.1)
        return quick(self, texts, proceed)

    def noted(*arguments):
        document = put(*arguments)
        stored.set()
        return document

    def kill():
        if stored.wait(60) and embedding.wait(60):
            os.kill(os.getpid(), number)

    killer = threading.Thread(target=kill)
    with monkeypatch.context() as patch:
        patch.setattr(flow, "TEXTS_TOGETHER", 1)
        patch.setattr(FakeEmbedder, "embed", slow)
        patch.setattr(Documents, "put", noted)
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        inherited = signal.signal(number, usual)  # ignored, where the tests run in the background
        killer.start()
        shell("ingest", str(notes), "--access", "everyone")
        killer.join()
        assert (shell.code, signal.signal(number, inherited)) == (code, usual)
    assert code != 1 or "error: stopped before it was done" in shell.err
    assert threading.active_count() == threads, "something still embeds"
    assert "lunch.md" in {document["uri"] for document in shell.json("documents", "list")}
    [result] = shell.json("ingest", str(notes), "--access", "everyone")
    assert (result["added"], result["unchanged"]) == (1, 1)
