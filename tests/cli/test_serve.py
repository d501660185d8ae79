from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
import assistant.app
from assistant.app import App
from assistant.cli.main import main
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine

def build(settings):
    app = App(settings)
    vars(app).update(engine=FakeEngine(), embedder=FakeEmbedder())
    return app

assistant.app.build = build
sys.exit(main(sys.argv[1:]))
"""


def test_serves_on_loopback_until_interrupted(shell):
    secret = shell.json("keys", "create", "--user", "ana")["secret"]
    command = [sys.executable, "-c", SCRIPT, "serve", "--port", "0"]
    pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as server:
        try:
            url = re.fullmatch(r"serving on (http://127\.0\.0\.1:\d+/v1)\n", server.stdout.readline())[1]
            headers = {"Authorization": f"Bearer {secret}"}
            with httpx.Client(timeout=60, trust_env=False) as client:
                models = client.get(f"{url}/models", headers=headers).json()
                assert "assistant/hr" in {model["id"] for model in models["data"]}
                assert client.get(f"{url}/models").status_code == 401
        finally:
            server.send_signal(signal.SIGINT)
            rest = server.stderr.read()
    assert server.returncode == 0
    assert "shutdown complete" in rest
    assert "Traceback" not in rest


def test_an_address_that_cannot_be_had_is_told_at_once(shell):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        start = time.monotonic()
        assert "in use" in shell.fails("serve", "--port", port)
        assert time.monotonic() - start < 20
    assert "0 to 65535" in shell.fails("serve", "--port", "99999")
    assert "Cannot listen" in shell.fails("serve", "--host", "192.0.2.1")
