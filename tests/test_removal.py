"""A removal is finished, and its receipt says what went."""

import json

import pytest

from assistant.adapters.manifest import MANIFEST_FILE
from assistant.errors import Unknown
from assistant.testing.workspace import workspace
from assistant.types import User


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
