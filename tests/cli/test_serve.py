from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from assistant.app import App
from assistant.audit.log import AuditLog
from assistant.config import load
from assistant.store.database import Database
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine
from assistant.testing.workspace import add
from assistant.types import Labels

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
import assistant.app
from assistant.app import App
from assistant.cli.main import main
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine

delay_s, *words = sys.argv[1:]

embedders = {embedder.digest: embedder for embedder in (FakeEmbedder(), FakeEmbedder(192))}
App.embedder_of = lambda app, digest: embedders[digest]

def build(settings):
    app = App(settings)
    vars(app).update(engine=FakeEngine(delay_s=float(delay_s)), embedder=FakeEmbedder())
    return app

assistant.app.build = build
sys.exit(main(words))
"""
ASK = {"messages": [{"role": "user", "content": "How long is parental leave?"}], "model": "assistant"}
SAID = "Parental leave lasts 18 weeks and is paid in full [1]."


class Server:
    """`assistant serve` in a process of its own, over the fake engine."""

    def __init__(self, shell, delay_s=0.0):
        secret = shell.json("keys", "create", "--user", "ana")["secret"]
        command = [sys.executable, "-c", SCRIPT, str(delay_s), "serve", "--port", "0"]
        pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
        line = self.process.stdout.readline()
        self.url = re.fullmatch(r"serving on (http://127\.0\.0\.1:\d+/v1)\n", line)[1]
        self.client = httpx.Client(headers={"Authorization": f"Bearer {secret}"}, timeout=60, trust_env=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.kill()
        self.process.communicate()

    def stop(self, number):
        """Send a signal and wait for the end; returns the exit status and what was written meanwhile."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        rest = self.process.stderr.read()
        return self.process.wait(60), rest

    def ask(self, stream=False):
        """The body of one answer, whole; of a stream all its events."""
        return self.client.post(f"{self.url}/chat/completions", json={**ASK, "stream": stream})


def entries(shell):
    """The latest answer's entries: how it was opened, and how it ended if it did."""
    with closing(Database.open(f"sqlite:///{shell.folder}/var/assistant.db")) as database:
        log = AuditLog(database, shell.folder / "var" / "audit")
        latest = log.entries(limit=1)[0]
        return log.of(latest.id) if latest.id.startswith("ans-") else ()


def wait_until_it_runs(shell, asked):
    deadline = time.monotonic() + 60
    while not entries(shell):
        assert time.monotonic() < deadline and not asked.done(), "the question was not opened"
        time.sleep(0.05)


def test_serves_on_loopback_until_interrupted(shell):
    with Server(shell) as server:
        models = server.client.get(f"{server.url}/models").json()
        assert "assistant/hr" in {model["id"] for model in models["data"]}
        assert httpx.get(f"{server.url}/models", trust_env=False).status_code == 401
        status, rest = server.stop(signal.SIGINT)
    assert status == 0
    assert "shutdown complete" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_is_told_to_stop_lets_running_answers_finish(shell, stream):
    with Server(shell, delay_s=0.2) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask, stream)
        wait_until_it_runs(shell, asked)
        server.process.send_signal(signal.SIGTERM)
        refused = False
        while not (refused or asked.done()):
            try:
                httpx.get(f"{server.url}/models", trust_env=False)
            except httpx.TransportError:
                refused = True
        assert refused, "it goes on taking requests"
        assert not asked.done(), "it stopped taking requests only when it had ended"
        assert SAID in asked.result().text
        status, rest = server.ended()
    assert status == -signal.SIGTERM  # the signal goes on when all is closed, as process managers expect
    assert "shutdown complete" in rest and "Traceback" not in rest
    assert [entry.status for entry in entries(shell)] == [None, "answered"]


def test_an_answer_that_takes_longer_than_it_may_is_ended_with_an_error(shell):
    settings = shell.folder / "assistant.yaml"
    settings.write_text(settings.read_text() + "engine: {kind: local, drain_s: 1}\n")
    with Server(shell, delay_s=2) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.ask)
        wait_until_it_runs(shell, asked)
        began = time.monotonic()
        status, rest = server.stop(signal.SIGTERM)
        assert time.monotonic() - began > 0.9
        answer = asked.result()
    assert answer.status_code == 503 and answer.json()["error"]["type"] == "server_error"
    assert status == -signal.SIGTERM
    assert "shutdown complete" in rest and "Traceback" not in rest
    assert [entry.status for entry in entries(shell)] == [None, "interrupted"]


def test_an_address_that_cannot_be_had_is_told_at_once(shell):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        start = time.monotonic()
        assert "in use" in shell.fails("serve", "--port", port)
        assert time.monotonic() - start < 20
    assert "0 to 65535" in shell.fails("serve", "--port", "99999")
    assert "Cannot listen" in shell.fails("serve", "--host", "192.0.2.1")


def test_a_running_server_follows_a_change_of_embedder(shell):
    app = App(load(shell.folder / "assistant.yaml"))
    vars(app).update(engine=FakeEngine(), embedder=FakeEmbedder(192))
    labels = Labels(source="sample", principals=frozenset({"everyone"}))
    with Server(shell) as server:

        def found(question):
            answer = server.client.post(f"{server.url}/search", json={"question": question})
            return {passage["uri"] for passage in answer.json()["passages"]}

        assert "hr/leave.md" in found("How long is parental leave?")
        assert app.reembed() == 5
        add(app, "parking.md", "Parking is free on Sundays.", labels)  # as the ingest behind it
        deadline = time.monotonic() + 60
        while "parking.md" not in found("Where is parking free on Sundays?"):
            assert "hr/leave.md" in found("How long is parental leave?")
            assert time.monotonic() < deadline and server.process.poll() is None
        assert server.ask().json()["choices"][0]["message"]["content"].endswith(SAID)
    digests = {entry.attributes["assistant.embedder.digest"] for entry in entries(shell)}
    assert digests == {FakeEmbedder(192).digest}
    app.database.close()
