from __future__ import annotations

import asyncio
import json
import shutil
import threading

import httpx
import pytest

from assistant.engine.base import Delta
from assistant.testing.engine import FakeEngine
from assistant.testing.serving import serving
from assistant.testing.workspace import workspace

LEAVE = "How long is parental leave?"


class Service:
    """A running server with its application and keys."""

    def __init__(self, app, url):
        self.app, self.url = app, url
        self._secrets = {}

    def key(self, user):
        if user not in self._secrets:
            self._secrets[user] = self.app.keys.create(kind="user", name=user, user_id=user)[1]
        return self._secrets[user]

    def client(self, secret=None):
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=False)

    def post(self, path, body, user="ana", **options):
        with self.client(self.key(user)) as client:
            return client.post(path, json=body, **options)

    def get(self, path, user="ana", **options):
        with self.client(self.key(user)) as client:
            return client.get(path, **options)

    def complete(self, text=LEAVE, user="ana", **body):
        messages = body.pop("messages", None) or [{"role": "user", "content": text}]
        return self.post("/v1/chat/completions", {"messages": messages, **body}, user)

    def stream(self, text=LEAVE, user="ana", **body):
        """The data of each server-sent event, JSON decoded but for [DONE]."""
        response = self.complete(text, user, stream=True, **body)
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    def entries(self, id):
        return self.app.log.of(id)


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    app = workspace(tmp_path_factory.mktemp("api") / "workspace")
    with serving(app) as url:
        yield Service(app, url)


@pytest.fixture
def served(tmp_path, service):
    """Serve a workspace of one's own over a given engine."""
    running = []

    def start(engine):
        app = workspace(tmp_path / "workspace", engine=engine)
        indexes = app.settings.path(app.settings.indexes)
        indexes.mkdir(parents=True)
        shutil.copy(service.app.settings.path(service.app.settings.indexes) / "router.npz", indexes)
        context = serving(app)
        running.append(context)
        return Service(app, context.__enter__())

    yield start
    for context in running:
        context.__exit__(None, None, None)


class Failing(FakeEngine):
    """Raises an error, after one supported sentence if asked to."""

    def __init__(self, error, after_text=False):
        super().__init__()
        self.error, self.after_text = error, after_text

    async def generate(self, request):
        if self.after_text:
            yield Delta(text="Parental leave lasts 18 weeks and is paid in full [1]. Annual ")
        raise self.error


class Endless(FakeEngine):
    """Says one supported sentence, or none, then words without end; remembers whether it was stopped."""

    def __init__(self, sentence="Parental leave lasts 18 weeks and is paid in full [1]. "):
        super().__init__()
        self.sentence = sentence
        self.steps = 0
        self.stopped = threading.Event()
        self.started = threading.Event()

    async def generate(self, request):
        try:
            yield Delta(text=f"{self.sentence}Further ")
            while self.steps < 5_000:
                self.steps += 1
                if self.steps == 3:
                    self.started.set()
                await asyncio.sleep(0.01)
                yield Delta(text="and ")
        finally:
            self.stopped.set()


@pytest.fixture(scope="session")
def engines():
    class Engines:
        failing, endless = Failing, Endless

    return Engines
