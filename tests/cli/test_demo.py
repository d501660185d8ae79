from __future__ import annotations

import pytest

import assistant.app
from assistant.app import App
from assistant.cli.demo import DELETED
from assistant.models.catalogue import BUILT_IN
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine
from assistant.workspace import init


@pytest.fixture
def company(shell, tmp_path, monkeypatch, models_folder):
    """The sample company's workspace, with fakes behind it that take its real adapters."""

    def build(settings):
        app = App(settings)
        engine = FakeEngine(base_digest=BUILT_IN[settings.models.base].sha256)
        vars(app).update(engine=engine, embedder=FakeEmbedder())
        return app

    monkeypatch.setattr(assistant.app, "build", build)
    folder = tmp_path / "company"
    init(folder)
    (folder / "var").mkdir()
    (folder / "var" / "models").symlink_to(models_folder)
    monkeypatch.chdir(folder)
    return shell


def test_shows_the_whole_idea_and_leaves_everything_as_it_was(company):
    company("demo")
    assert "error" not in company.err
    for title in ("Models", "Documents", "Five departments", "The same words", "Deletion", "The log"):
        assert f"\n{title}" in company.out
    assert company.out.count(" asks: ") == 8
    assert company.out.count("Receipt   ans-") == 8
    assert f"removed {DELETED}" in company.out
    assert "entries verify against the signed head" in company.out
    assert "\x1b" not in company.out
    assert DELETED in {document["uri"] for document in company.json("documents", "list")}
    assert company.json("audit", "verify")["holds"]


def test_refuses_another_company(shell):
    assert "not the sample company" in shell.fails("demo")
