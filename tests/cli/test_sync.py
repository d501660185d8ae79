from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import assistant.app
import assistant.cli.sync
from assistant.connectors.base import Item, Source
from assistant.types import Labels


@pytest.fixture
def sources(shell, tmp_path):
    """Two connectors over two folders, and what writes a third."""
    (shell.folder / "connectors").mkdir()

    def write(name, files, **more):
        folder = tmp_path / name
        folder.mkdir()
        for uri, text in files.items():
            (folder / uri).write_text(text)
        keys = "".join(f"{key}: {value}\n" for key, value in more.items())
        (shell.folder / "connectors" / f"{name}.yaml").write_text(
            f"name: {name}\nurl: {folder}\ndefault: {{access: [everyone]}}\n{keys}"
        )
        return folder

    write("rooms", {"a.md": "# Rooms\n\nRoom 4 is free.\n", "b.md": "# Rooms\n\nRoom 5 is not.\n"})
    write("food", {"lunch.md": "# Lunch\n\nThe canteen opens at 11:45.\n"})
    return write


def test_every_source_is_brought_up_to_date(shell, sources):
    shell("sync")
    assert (shell.code, shell.out.count("added")) == (0, 2)
    assert "food: 1 added" in shell.out
    assert "rooms: 2 added" in shell.out
    results = shell.json("sync")
    assert [(r["source"], r["summary"]["unchanged"], r["error"]) for r in results] == [
        ("food", 1, ""),
        ("rooms", 2, ""),
    ]
    assert [e["kind"] for e in shell.json("audit", "list")].count("ingest.finished") == 4


def test_a_dry_run_changes_nothing(shell, sources):
    shell("sync", "--dry-run")
    assert shell.code == 0
    assert "food: 1 added (dry run)" in shell.out and "rooms: 2 added (dry run)" in shell.out
    [food, _] = shell.json("sync", "--dry-run")
    assert (food["foreseen"], food["summary"]) == ({"added": 1}, None)
    assert len(shell.json("documents", "list", "--source", "food")) == 0


def test_named_sources_only(shell, sources):
    assert [r["source"] for r in shell.json("sync", "rooms")] == ["rooms"]
    assert "Known: food, rooms" in shell.fails("sync", "roms")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: bad\nurl: nowhere\ndefault: {access: [everyone]}\n", "does not exist"),
        ("name: bad\nurl: docs\n", "`default` is missing"),
        ("name: bad\nkind: confluence\nspace: HR\n", "no connector kind `confluence`"),
        ("name: food\nurl: docs\ndefault: {access: [everyone]}\n", "another connector"),
    ],
)
def test_a_source_that_fails_stops_no_other(shell, sources, text, said):
    (shell.folder / "connectors" / "zoo.yaml").write_text(text)
    shell("sync", "--jobs", "1")
    assert shell.code == 1
    assert "food: 1 added" in shell.out and "rooms: 2 added" in shell.out
    assert "failed: " in shell.out and said in shell.out


def test_a_mistake_in_a_plug_in_stops_no_other(shell, sources):
    (shell.folder / "connectors" / "odd.py").write_text(
        "from typing import Literal\n"
        "from assistant.connectors.base import Source\n"
        "class Connector(Source):\n"
        "    kind: Literal['odd.py']\n"
        "    def open(self, workspace):\n"
        "        return Odd(self.name)\n"
        "class Odd:\n"
        "    def __init__(self, name): self.name = name\n"
        "    def discover(self): return 1 / 0\n"
    )
    (shell.folder / "connectors" / "odd.yaml").write_text("name: odd\nkind: odd.py\n")
    shell("sync")
    assert shell.code == 1
    assert "odd: failed: ZeroDivisionError" in shell.out
    assert "food: 1 added" in shell.out


def test_a_source_all_of_whose_documents_are_refused_failed(shell, sources):
    folder = sources("junk", {})
    (folder / "junk.pdf").write_bytes(b"%PDF-1.7\nno pages")
    shell("sync", "junk")
    assert shell.code == 1
    assert "refused junk.pdf:" in shell.out


def test_a_source_that_is_suddenly_empty_keeps_its_documents(shell, sources, tmp_path):
    shell("sync")
    (tmp_path / "food" / "lunch.md").unlink()
    shell("sync")
    assert shell.code == 1
    assert "food lists 0 documents where 1 are stored" in shell.out
    assert len(shell.json("documents", "list", "--source", "food")) == 1
    shell("sync", "--allow-mass-removal")
    assert shell.code == 0
    assert "food: 1 removed" in shell.out


class _Slow(Source):
    """A plug-in whose items take a while."""

    kind: str = "slow"

    def open(self, workspace):
        return _Items(self.name)


class _Items:
    def __init__(self, name):
        self.name = name

    def discover(self):
        labels = Labels(source=self.name, principals=frozenset({"everyone"}))
        for number in range(400):
            yield Item(uri=f"{number}.txt", fingerprint="1", size_bytes=0, labels=labels)

    def fetch(self, item):
        time.sleep(0.05)
        return b"A room."


def test_sources_run_side_by_side(shell, sources, monkeypatch):
    met = threading.Barrier(2, timeout=20)
    ingest = assistant.cli.ingest.ingest

    def meeting(*arguments, **named):
        met.wait()
        return ingest(*arguments, **named)

    monkeypatch.setattr(assistant.cli.ingest, "ingest", meeting)
    shell("sync", "--jobs", "2")
    assert shell.code == 0


def test_sigterm_ends_a_source_between_documents(shell, sources, monkeypatch):
    monkeypatch.setattr("assistant.connectors.kinds._installed", lambda kind, file: _Slow)
    for file in (shell.folder / "connectors").glob("*.yaml"):
        file.unlink()
    (shell.folder / "connectors" / "slow.yaml").write_text("name: slow\nkind: slow\n")
    later = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    later.start()
    shell("sync")
    later.cancel()
    assert shell.code == 1
    assert "slow: failed: stopped before it was done" in shell.out
    assert len(shell.json("documents", "list", "--source", "slow")) < 400


def test_again_and_again_until_sigterm(shell, sources, monkeypatch):
    rounds = []
    once = assistant.cli.sync._round

    def counted(*arguments):
        results = once(*arguments)
        rounds.append(results)
        if len(rounds) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return results

    monkeypatch.setattr(assistant.cli.sync, "_round", counted)
    before = signal.getsignal(signal.SIGTERM)
    shell("sync", "--every", "0.1s")
    assert (shell.code, len(rounds)) == (0, 2)
    assert shell.out.count("food: 1 unchanged") == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_every_round_follows_the_configuration(shell, sources, monkeypatch):
    used = []
    once = assistant.cli.sync._round

    def noted(app, *more):
        used.append(app.settings.company)
        (shell.folder / "assistant.yaml").write_text("company: Renamed\n")
        if len(used) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return once(app, *more)

    monkeypatch.setattr(assistant.cli.sync, "_round", noted)
    shell("sync", "--every", "0.1s")
    assert (shell.code, used) == (0, ["Example Company", "Renamed"])


def test_an_embedder_that_is_not_here_yet_ends_nothing(shell, sources, monkeypatch):
    """assistant.yaml names another one before `models pull`: the rounds go on by the one before."""
    rounds, build = [], assistant.app.build
    once = assistant.cli.sync._round

    def without(settings):
        app = build(settings)
        if settings.company == "Renamed":
            del app.embedder  # the real one, which was not pulled
        return app

    def noted(app, *more):
        rounds.append(once(app, *more))
        (shell.folder / "assistant.yaml").write_text("company: Renamed\n")
        if len(rounds) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return rounds[-1]

    monkeypatch.setattr(assistant.app, "build", without)
    monkeypatch.setattr(assistant.cli.sync, "_round", noted)
    shell("sync", "--every", "0.1s")
    assert (shell.code, len(rounds)) == (0, 3), shell.err
    assert shell.err.count("the round goes by what assistant.yaml said before") == 3
    assert all(result.summary for results in rounds for result in results)


@pytest.mark.parametrize("words", [("--every", "15"), ("--every", "0s"), ("--jobs", "0")])
def test_wrong_usage(shell, words):
    assert "is no " in shell.fails("sync", *words, code=2)


def test_nothing_to_sync(shell):
    assert "nothing to sync" in shell.fails("sync")


def test_help_imports_nothing_heavy():
    seen = subprocess.run(
        [sys.executable, "-c", "import sys; from assistant.cli.main import build; build('sync');"
         "print([m for m in ('torch', 'fsspec', 'sqlalchemy') if m in sys.modules])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert seen.stdout.strip() == "[]"
