"""A change of embedder reaches what serves, while it serves."""

import asyncio
import logging
import time

import pytest
import yaml

from assistant.app import App, build
from assistant.config import load
from assistant.errors import ModelError
from assistant.models.catalogue import BUILT_IN, DEFAULT_EMBEDDER, pin_of
from assistant.models.pull import pull
from assistant.reembed import reembed
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.workspace import add, workspace
from assistant.types import Labels, Question

EVERYONE = Labels(source="sample", principals=frozenset({"everyone"}))
OLD, NEW = FakeEmbedder(), FakeEmbedder(192)
LEAVE, PARKING = "How long is parental leave?", "Where is parking free on Sundays?"


@pytest.fixture
def here(monkeypatch):
    """The embedders of this machine."""
    found = {embedder.digest: embedder for embedder in (OLD, NEW)}

    def embedder_of(_, digest):
        if digest not in found:
            raise ModelError("No model here is that embedder.")
        return found[digest]

    monkeypatch.setattr(App, "embedder_of", embedder_of)
    return found


@pytest.fixture
def app(tmp_path):
    app = workspace(tmp_path / "workspace")
    app.serving.look_every_s = 0
    yield app
    app.database.close()


def another(app, embedder):
    """The application of another process, with another embedder in its configuration."""
    other = build(app.settings)
    vars(other).update(engine=app.engine, embedder=embedder)
    return other


def found(app, text):
    asked = Question(text=text, user=app.people.user("ana"))
    return {passage.document.uri for passage in app.chat.find(asked, 5).passages}


def swapped(app, embedder):
    """Ask until the new embedder serves; everything is found meanwhile."""
    until = time.monotonic() + 30
    while app.search.embedder != embedder.digest:
        assert "hr/leave.md" in found(app, LEAVE)
        assert time.monotonic() < until, "the old embedder serves on"


def test_what_serves_goes_over_to_another_embedder_when_all_is_embedded_by_it(app, here):
    chat, other = app.chat, another(app, NEW)
    asked = Question(text=LEAVE, user=app.people.user("ana"))
    before = asyncio.run(chat.answer(asked))
    assert reembed(other.database, NEW.embed, NEW.digest) == 5
    document = add(other, "parking.md", "Parking is free on Sundays.", EVERYONE)
    swapped(app, NEW)
    assert "parking.md" in found(app, PARKING)
    assert app.router.embed.__self__.digest == NEW.digest and chat.router() is app.router
    after = asyncio.run(chat.answer(asked))
    assert after.text == before.text and after.route.department == before.route.department
    recorded = [
        {entry.attributes["assistant.embedder.digest"] for entry in app.log.of(answer.receipt.id)}
        for answer in (before, after)
    ]
    assert recorded == [{OLD.digest}, {NEW.digest}]
    app.remover.remove(document.id, by="ana")
    assert "parking.md" not in found(app, PARKING)
    assert set(app.search.numbers.values()) == {app.documents.change_number()}
    other.database.close()


def test_a_question_on_its_way_ends_with_the_embedder_it_began_with(app, here, monkeypatch):
    other, ask = another(app, NEW), app.chat._retrieved

    def retrieved(_, turn):
        turn = ask(turn)
        reembed(other.database, NEW.embed, NEW.digest)
        swapped(app, NEW)
        return turn

    monkeypatch.setattr(type(app.chat), "_retrieved", retrieved)
    answer = asyncio.run(app.chat.answer(Question(text=LEAVE, user=app.people.user("ana"))))
    entries = app.log.of(answer.receipt.id)
    assert {entry.attributes["assistant.embedder.digest"] for entry in entries} == {OLD.digest}
    assert "Parental leave lasts 18 weeks" in answer.text
    other.database.close()


def test_where_the_model_is_not_here_what_serves_goes_on(app, here, caplog):
    assert "hr/leave.md" in found(app, LEAVE)
    del here[NEW.digest]
    other = another(app, NEW)
    reembed(other.database, NEW.embed, NEW.digest)
    with caplog.at_level(logging.WARNING, logger="assistant.serving"):
        for _ in range(3):
            assert "hr/leave.md" in found(app, LEAVE)
        app.serving.settle()
    assert [record.message for record in caplog.records] == [
        "the documents were embedded anew, but what serves goes on as it was: No model here is that embedder."
    ]
    gone = app.documents.find("sample", "hr/leave.md")
    app.remover.remove(gone.id, by="ana")
    assert "hr/leave.md" not in found(app, LEAVE)
    other.database.close()


def test_another_process_with_the_new_embedder_leaves_the_old_one_its_words(app, here):
    """The lexical index on disk is the successor's; whoever still serves the old one finds what it found."""
    app.serving.look_every_s = 3600
    for _ in range(2):  # the second looks
        assert "hr/leave.md" in found(app, LEAVE)
    other = another(app, NEW)
    reembed(other.database, NEW.embed, NEW.digest)
    assert "hr/leave.md" in found(other, LEAVE)
    add(other, "parking.md", "Parking is free on Sundays.", EVERYONE)
    for each in (app, other, app, other):
        assert "hr/leave.md" in found(each, LEAVE)
    assert app.search._lexical._searcher.num_docs == 5
    assert "parking.md" in found(other, PARKING)
    other.database.close()


def test_until_all_is_embedded_anew_the_old_embedder_serves(app, here):
    """Configuration names the new one, and nothing was ingested since."""
    other = another(app, NEW)
    assert other.search.embedder == OLD.digest and "hr/leave.md" in found(other, LEAVE)
    del here[OLD.digest]
    third = another(app, NEW)
    assert third.search.embedder == NEW.digest
    other.database.close()
    third.database.close()


def test_the_model_is_found_by_what_assistant_yaml_says_now(tmp_path, models_folder):
    file = tmp_path / "assistant.yaml"
    file.write_text(yaml.safe_dump({"models": {"folder": str(models_folder)}}))
    app = build(load(file))
    pin = BUILT_IN[DEFAULT_EMBEDDER].model_copy(update={"max_tokens": 64})
    short = {**pin.model_dump(mode="json"), "sources": [{"path": str(models_folder / DEFAULT_EMBEDDER)}]}
    settings = {"models": {"embedder": "short", "folder": "models", "catalogue": {"short": short}}}
    file.write_text(yaml.safe_dump(settings))
    now = load(file)
    pull("short", pin_of("short", now.models), tmp_path / "models")
    new = build(now).embedder
    assert new.digest != app.embedder.digest and new.max_tokens == 62
    assert app.embedder_of(new.digest).digest == new.digest
    assert app.embedder_of(app.embedder.digest) is app.embedder
    with pytest.raises(ModelError, match="No model here"):
        app.embedder_of("0" * 64)
