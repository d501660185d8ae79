"""A removal is finished, and its receipt says what went."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.adapters.manifest import MANIFEST_FILE
from assistant.errors import AuditError, Unknown
from assistant.removal import Remover
from assistant.store import unrecorded
from assistant.testing.workspace import add, workspace
from assistant.types import Labels, User


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    app = workspace(tmp_path_factory.mktemp("removal") / "workspace")
    yield app
    app.database.close()


def trained_on(app, department, document):
    (file,) = (app.settings.path(app.settings.adapters) / department / "versions").glob(f"*/{MANIFEST_FILE}")
    file.write_text(json.dumps({**json.loads(file.read_text()), "documents": [document.id]}))
    return f"{department}@{file.parent.name}"


def test_the_receipt_names_all_that_went_and_what_was_trained_on_it(app):
    document = app.documents.find("sample", "hr/leave.md")
    version = trained_on(app, "hr", document)
    before = app.documents.change_number()
    found = app.search.search("parental leave", app.documents.class_ids(), limit=9, candidates=9)
    assert document.id in {passage.document.id for passage in found}
    removal = app.remover.remove(document.id, by="operator:ana")
    assert (removal.document, removal.chunks, removal.adapters) == (document, 2, (version,))
    assert removal.change == before + 2 == app.documents.change_number()
    assert set(removal.indexes.values()) == {removal.change}
    found = app.search.search("parental leave", app.documents.class_ids(), limit=9, candidates=9)
    assert document.id not in {passage.document.id for passage in found}
    (entry,) = app.log.of(document.id)
    assert (entry.kind, entry.user) == ("document.removed", "operator:ana")
    assert entry.position == removal.receipt.index
    assert entry.digests == {"content": document.content_digest}
    assert entry.attributes["assistant.adapters"] == version
    assert entry.attributes["assistant.change"] == removal.change
    assert entry.attributes["assistant.document.chunks"] == 2
    assert app.verify().holds


def test_what_is_not_there_leaves_no_entry(app):
    before = len(app.log.entries())
    with pytest.raises(Unknown):
        app.remover.remove("0" * 16, by="operator:ana")
    assert len(app.log.entries()) == before


def test_a_damaged_manifest_stops_no_removal(app):
    document = app.documents.find("sample", "legal/contracts.md")
    (file,) = (app.settings.path(app.settings.adapters) / "legal" / "versions").glob(f"*/{MANIFEST_FILE}")
    file.write_text("{")
    assert app.remover.remove(document.id, by="ana").adapters == ("legal@unreadable",)
    assert app.documents.get(document.id) is None
    assert app.permissions.permitted(User(id="ana")) <= app.documents.class_ids()


EVERYONE = Labels(source="sample", principals=frozenset({"everyone"}))


def removed(app, document):
    try:
        return [entry for entry in app.log.of(document.id) if entry.kind == "document.removed"]
    except Unknown:
        return []


def test_a_file_that_is_gone_leaves_an_entry_as_an_explicit_removal_does(app):
    from assistant.connectors.config import FilesSource
    from assistant.connectors.files import Files

    folder = app.settings.workspace / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("Parking is free on Sundays.")
    (folder / "b.md").write_text("The canteen opens at noon.")
    source = FilesSource.model_validate({"name": "docs", "url": "docs", "default": {"access": ["everyone"]}})
    app.ingest(Files(source, workspace=app.settings.workspace))
    document = app.documents.find("docs", "a.md")
    version = trained_on(app, "engineering", document)
    (folder / "a.md").unlink()
    assert app.ingest(Files(source, workspace=app.settings.workspace)).removed == 1
    (entry,) = removed(app, document)
    assert (entry.user, entry.attributes["assistant.document.uri"]) == ("ingest", "a.md")
    assert entry.attributes["assistant.adapters"].split()[0] == version
    assert entry.digests == {"content": document.content_digest}
    assert entry.attributes["assistant.change"] == app.documents.change_number()
    assert unrecorded.left(app.database) == () and app.verify().holds


def test_an_entry_that_cannot_be_written_is_written_later_and_once(app):
    document = add(app, "late.md", "A passing remark.", EVERYONE)

    def fails():
        raise AuditError("The disk is full.")

    parts = (app.database, app.documents, app.log, app.adapters)
    with pytest.raises(AuditError):
        Remover(*parts, indexes=fails, purge=dict).remove(document.id, by="ana")
    assert app.documents.get(document.id) is None and removed(app, document) == []
    assert [app.remover.settle(), app.remover.settle()] == [1, 0]
    (entry,) = removed(app, document)
    assert (entry.user, entry.attributes["assistant.document.chunks"]) == ("ana", 1)


def test_one_that_another_process_recorded_has_that_receipt(app):
    document = add(app, "twice.md", "Another remark.", EVERYONE)

    def another():
        app.remover.settle()
        return {}

    parts = (app.database, app.documents, app.log, app.adapters)
    removal = Remover(*parts, indexes=another, purge=dict).remove(document.id, by="ana")
    (entry,) = removed(app, document)
    assert removal.receipt.index == entry.position


KILLED = """
import os, signal, sys
from pathlib import Path
from assistant.app import build
from assistant.config import load
from assistant.removal import Remover
from assistant.store import unrecorded

app = build(load(Path(sys.argv[1])))
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
claim = unrecorded.settle
at = sys.argv[3]
if at == "claimed":
    def claimed(connection, change):
        claim(connection, change)
        die()
    unrecorded.settle = claimed
if at == "announced":
    app.log._heads.confirm = die
indexes = die if at == "removed" else dict
remover = Remover(app.database, app.documents, app.log, app.adapters, indexes=indexes, purge=dict)
remover.remove(sys.argv[2], by="ana")
"""


@pytest.mark.parametrize("at", ["removed", "claimed", "announced"])
def test_a_kill_between_removal_and_entry_loses_neither(app, at):
    document = add(app, f"{at}.md", "A remark that will go.", EVERYONE)
    command = [sys.executable, "-c", KILLED, str(app.settings.workspace / "assistant.yaml"), document.id, at]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert app.documents.get(document.id) is None
    app.remover.settle()
    (entry,) = removed(app, document)
    assert (entry.user, entry.digests) == ("ana", {"content": document.content_digest})
    assert unrecorded.left(app.database) == () and app.verify().holds
