from __future__ import annotations

import json
from pathlib import Path

import pytest

import assistant.app
from assistant.app import App
from assistant.cli.main import main
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine
from assistant.testing.workspace import workspace


class Shell:
    """Runs commands in a workspace as a person would, in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.code = 0
        self.out = self.err = ""

    def __call__(self, *words: str) -> Shell:
        self._capsys.readouterr()
        try:
            self.code = main(words)
        except SystemExit as end:  # argparse: help, version, wrong usage
            self.code = int(end.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return self

    def json(self, *words: str) -> object:
        self(*words, "--json")
        assert self.code == 0, self.err
        return json.loads(self.out)

    def fails(self, *words: str, code: int = 1) -> str:
        """Run a command that must fail with one line on standard error, and return that line."""
        self(*words)
        assert self.code == code, self.out
        lines = [line for line in self.err.splitlines() if not line.startswith("ingest ")]
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0]


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """A shell in a small workspace; the models behind it are the public fakes, the rest is real."""
    engine = FakeEngine()
    folder = tmp_path / "work"
    folder.mkdir()
    workspace(folder, engine=engine).database.close()
    opened = []

    def build(settings):
        app = App(settings)
        vars(app).update(engine=FakeEngine(), embedder=FakeEmbedder())
        opened.append(app)
        return app

    monkeypatch.setattr(assistant.app, "build", build)
    monkeypatch.chdir(folder)
    yield Shell(folder, capsys)
    for app in opened:
        if "database" in vars(app):
            app.database.close()
