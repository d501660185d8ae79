"""Every bad input of the foundation, end to end: one clear line or a 4xx, nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import assistant.app
from assistant.adapters.manifest import Manifest
from assistant.api.server import create
from assistant.app import App
from assistant.cli.main import main
from assistant.config import load
from assistant.connectors.files import Files
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine
from assistant.testing.workspace import workspace, write_adapter
from assistant.types import Question

LEAVE = "How long is parental leave?"
ASK = ("ask", LEAVE, "--as", "ana")
DATA = Path(__file__).parent / "data"


class Place:
    """A workspace with fake models in which an answer was given before anything goes wrong."""

    def __init__(self, folder, capsys):
        self.folder, self._capsys = folder, capsys
        self.fakes = True
        self.opened = []

    def build(self, settings):
        app = App(settings)
        if self.fakes:
            vars(app).update(engine=FakeEngine(), embedder=FakeEmbedder())
        self.opened.append(app)
        return app

    def run(self, *words):
        """Run a command: exit code, output, lines on standard error that are not progress."""
        self._capsys.readouterr()
        try:
            code = main(words)
        finally:
            self.close()
        out, err = self._capsys.readouterr()
        return code, out, [line for line in err.splitlines() if not line.startswith(("ingest ", "note: "))]

    def fails(self, *words):
        """Run a command that must fail with one clear line."""
        code, out, err = self.run(*words)
        assert (code, len(err)) == (1, 1), (code, out, err)
        assert err[0].startswith("error: ")
        assert "mistake of the program" not in err[0] and "Traceback" not in err[0]
        return err[0]

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def version(self, department="hr"):
        [folder] = (self.folder / "adapters" / department / "versions").iterdir()
        return folder

    def close(self):
        for app in self.opened:
            if "database" in vars(app):
                app.database.close()
        self.opened.clear()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    app = workspace(folder, engine=FakeEngine())
    user = app.people.user("ana")
    answer = asyncio.run(app.chat.answer(Question(text=LEAVE, user=user)))
    assert "18 weeks" in answer.text
    app.search.save()
    asyncio.run(app.close())
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "work"
    shutil.copytree(made, folder)
    here = Place(folder, capsys)
    monkeypatch.setattr(assistant.app, "build", here.build)
    monkeypatch.chdir(folder)
    yield here
    here.close()


def _another_base(place):
    other = FakeEngine(base_digest="b" * 64)
    shutil.rmtree(place.folder / "adapters" / "hr")
    write_adapter(place.folder / "adapters" / "hr", "hr", other)


def _altered(place):
    file = place.version() / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes() + b"x")


def _altered_manifest(place):
    manifest = Manifest.model_validate_json((place.version() / "manifest.json").read_text())
    manifest.model_copy(update={"base_digest": "c" * 64}).write(place.version())


def _no_database(place):
    for file in (place.folder / "var").glob("assistant.db*"):
        file.unlink()
    place.write("var/assistant.db", b"This is a letter, not a database.\n" * 400)


def _no_models(place):
    place.fakes = False


def _hole_in_database(place):
    with sqlite3.connect(place.folder / "var" / "assistant.db") as connection:
        connection.execute("DROP TABLE chunks")
    connection.close()


BROKEN = {
    "not YAML": (lambda p: p.write("assistant.yaml", "company: [x\n"), ("assistant.yaml line", "YAML")),
    "not a mapping": (lambda p: p.write("assistant.yaml", "- x\n"), ("assistant.yaml", "`key: value`")),
    "binary YAML": (lambda p: p.write("assistant.yaml", b"\xff\xfe\x00"), ("assistant.yaml", "UTF-8")),
    "control characters": (lambda p: p.write("assistant.yaml", b"company: a\x00b\n"), ("assistant.yaml",)),
    "a key unknown": (lambda p: p.write("assistant.yaml", "compani: x\n"), ("`compani`", "known here")),
    "an alias of itself": (lambda p: p.write("assistant.yaml", "company: &a [*a]\n"), ("assistant.yaml",)),
    "a list as key": (lambda p: p.write("assistant.yaml", "? [a, b]\n: x\n"), ("assistant.yaml",)),
    "very deep YAML": (lambda p: p.write("assistant.yaml", "a: " + "[" * 500), ("assistant.yaml",)),
    "unset variable": (
        lambda p: p.write("assistant.yaml", "company: ${NOT_SET_X}\n"),
        ("NOT_SET_X", "Export"),
    ),
    "no people": (lambda p: (p.folder / "policies/people.yaml").unlink(), ("people.yaml", "Create")),
    "wrong people": (
        lambda p: p.write("policies/people.yaml", "people: [ana]\n"),
        ("people.yaml", "`people`"),
    ),
    "wrong rules": (lambda p: p.write("policies/rules/x.yaml", "rules: 7\n"), ("x.yaml", "`rules`")),
    "no Cedar": (lambda p: (p.folder / "policies/access.cedar").unlink(), ("access.cedar", "nobody")),
    "wrong Cedar": (
        lambda p: p.write("policies/access.cedar", "permit (principal,"),
        ("access.cedar", "Correct"),
    ),
    "Cedar off the schema": (
        lambda p: p.write("policies/access.cedar", "permit (principal, action, resource.nope);"),
        ("access.cedar",),
    ),
    "wrong department": (
        lambda p: p.write(
            "adapters/hr/adapter.yaml",
            "department: hr\ndescription: x\nstyle: x\nexamples: [a, b, c]\nstil: x\n",
        ),
        ("adapter.yaml", "`stil`"),
    ),
    "no departments": (lambda p: shutil.rmtree(p.folder / "adapters"), ("departments", "assistant init")),
    "wrong alias": (lambda p: p.write("adapters/hr/aliases.yaml", "champion: x\n"), ("aliases.yaml", "hex")),
    "no such version": (
        lambda p: p.write("adapters/hr/aliases.yaml", f"champion: {'a' * 64}\n"),
        ("a" * 16, "estore"),
    ),
    "version folder gone": (lambda p: shutil.rmtree(p.version()), ("versions", "estore")),
    "weights gone": (
        lambda p: (p.version() / "adapter_model.safetensors").unlink(),
        ("adapter_model.safetensors", "Restore or retrain"),
    ),
    "adapter altered": (_altered, ("adapter_model.safetensors", "altered", "retrain")),
    "manifest altered": (_altered_manifest, ("manifest.json", "estore")),
    "manifest of junk": (lambda p: p.write(p.version() / "manifest.json", b"\xff{"), ("manifest.json",)),
    "adapter of another base": (_another_base, ("base", "rain")),
    "no models": (_no_models, ("models", "assistant models pull")),
    "no database": (_no_database, ("assistant.db", "not a database", "Check")),
    "database with a hole": (_hole_in_database, ("assistant.db", "chunks", "Check")),
    "signing key gone": (lambda p: (p.folder / "var/audit/signing.key").unlink(), ("signing.key", "Restore")),
    "signing key of junk": (lambda p: p.write("var/audit/signing.key", b"\x00\xffx"), ("signing.key",)),
    "audit folder gone": (lambda p: shutil.rmtree(p.folder / "var/audit"), ("signing.key", "Restore")),
    "head altered": (lambda p: p.write("var/audit/head", "x"), ("var/audit/head", "checkpoint", "Compare")),
    "a file for the audit folder": (
        lambda p: (shutil.rmtree(p.folder / "var/audit"), p.write("var/audit", "x")),
        ("var/audit",),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_workspace_gives_one_clear_line(place, name):
    damage, words = BROKEN[name]
    damage(place)
    error = place.fails(*ASK)
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    "name", ["not YAML", "wrong people", "no Cedar", "wrong department", "no models", "signing key gone"]
)
def test_the_server_does_not_start_on_a_broken_workspace(place, name):
    damage, words = BROKEN[name]
    damage(place)
    error = place.fails("serve", "--port", "0")
    for word in words:
        assert word in error


INDEXES = (
    "vectors/state.json",
    "vectors/*/rows.faiss",
    "router.npz",
    "lexical/state.json",
    "lexical/meta.json",
    "lexical/*.term",
)


def _flipped(data):
    half = len(data) // 2
    return data[:half] + bytes(byte ^ 0xFF for byte in data[half:])


DAMAGE = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "junk": lambda file: file.write_bytes(b"\x00\xffjunk" * 300),
    "flipped": lambda file: file.write_bytes(_flipped(file.read_bytes())),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("pattern", INDEXES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_made_anew(place, pattern, damage):
    indexes = place.folder / "var" / "indexes"
    [file] = indexes.glob(pattern)
    DAMAGE[damage](file)
    for _ in range(2):
        code, out, err = place.run(*ASK)
        assert (code, err) == (0, [])
        assert "18 weeks" in out


@pytest.mark.parametrize("damage", ["gone", "a file"])
def test_a_lexical_folder_that_is_none_is_made_anew(place, damage):
    shutil.rmtree(place.folder / "var/indexes/lexical")
    if damage == "a file":
        place.write("var/indexes/lexical", "x")
    assert "18 weeks" in place.run(*ASK)[1]


@pytest.fixture
def notes(place, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(3):
        (folder / f"note{number}.md").write_text(
            f"# Note {number}\n\nThe code of room {number} is R-{number}7.\n"
        )
    return folder


def _documents(place):
    with sqlite3.connect(place.folder / "var" / "assistant.db") as connection:
        rows = connection.execute(
            "SELECT uri, count(c.id) FROM documents d JOIN chunks c ON c.document_id=d.id"
            " WHERE d.source LIKE 'notes%' GROUP BY uri ORDER BY uri"
        ).fetchall()
    connection.close()
    return rows


def test_bad_documents_beside_good_ones(place, notes, monkeypatch):
    (notes / "junk.pdf").write_bytes(bytes(range(256)) * 40)
    shutil.copy(DATA / "encrypted.pdf", notes)
    fetch = Files.fetch

    def vanishing(self, item):
        if item.uri == "note1.md":
            (notes / "note1.md").unlink(missing_ok=True)
        return fetch(self, item)

    monkeypatch.setattr(Files, "fetch", vanishing)
    code, out, err = place.run("ingest", str(notes), "--access", "everyone")
    assert (code, err) == (0, [])
    for uri in ("junk.pdf", "encrypted.pdf", "note1.md"):
        assert f"refused {uri}:" in out
    assert "2 added" in out and "vanished" in out
    stored = [("note0.md", 1), ("note2.md", 1)]
    assert _documents(place) == stored
    with open(next((place.folder / "var" / "locks").glob("ingest-notes-*.lock")), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as the other ingest holds it, until it ends or is killed
        error = place.fails("ingest", str(notes), "--access", "everyone")
        assert "Another ingest of notes-" in error and "try again" in error
    assert _documents(place) == stored
    assert "2 unchanged" in place.run("ingest", str(notes), "--access", "everyone")[1]
    assert _documents(place) == stored
    assert place.run("audit", "verify")[0] == 0


def test_questions_over_http(place):
    app = place.build(load())
    _, secret = app.keys.create(kind="user", name="ana", user_id="ana")
    _, app_secret = app.keys.create(kind="app", name="portal", acts_for=True)
    before = len(app.log.entries())
    with TestClient(create(app)) as client:

        def ask(text, secret=secret, **more):
            return client.post(
                "/v1/chat/completions",
                headers={"Authorization": f"Bearer {secret}"},
                json={"messages": [{"role": "user", "content": text}], **more},
            )

        refused = {
            "empty": (ask("  "), 400),
            "1 MB": (ask("why " * 250_000), 413),
            "department": (ask(LEAVE, model="sales"), 404),
            "user": (ask(LEAVE, app_secret, user="nobody"), 404),
            "key": (ask(LEAVE, "nonsense"), 401),
        }
        for name, (response, status) in refused.items():
            assert response.status_code == status, (name, response.text)
            error = response.json()["error"]
            assert set(error) == {"message", "type", "param", "code"} and error["message"]
        assert len(app.log.entries()) == before
        shutil.rmtree(place.version())
        lost = ask(LEAVE)
        assert lost.status_code == 503 and lost.json()["error"]["code"] == "AdapterError"
    assert app.verify().problems == ()
