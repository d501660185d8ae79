"""A server that speaks vLLM's protocol on loopback, with the fake engine behind it."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import aclosing, contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from assistant.engine.base import GenerateRequest, Sampling
from assistant.errors import AssistantError
from assistant.types import AdapterVersion, Message

MODEL = "base-model"
CONTEXT = 4096


class Served:
    """The routes; `engine` generates, `names` maps served adapter names to digests."""

    def __init__(self, engine, *, loading=True, scoring=True, key=None):
        self.engine, self.loading, self.scoring, self.key = engine, loading, scoring, key
        self.names = {}
        self.bodies = []
        self.open_streams = 0
        self.break_after = None
        self.refuse = None

    def application(self):
        paths = {
            "/v1/chat/completions": self.generate,
            "/v1/completions": self.complete,
            "/v1/load_lora_adapter": self.load,
            "/v1/unload_lora_adapter": self.unload,
            "/tokenize": self.tokenize,
        }
        return Starlette(routes=[Route(path, call, methods=["POST"]) for path, call in paths.items()])

    async def generate(self, request):
        body = await self._body(request)
        if refused := self._refused(request, body):
            return refused
        messages = tuple(Message(**turn) for turn in body["messages"]) if "messages" in body else ()
        names = {"max_tokens", "temperature", "top_p", "top_k", "seed", "repetition_penalty", "stop"}
        given = {name: value for name, value in body.items() if name in names}
        asked = GenerateRequest(
            messages=messages,
            tokens=tuple(body.get("prompt", ())),
            adapter=self.names.get(body["model"]),
            sampling=Sampling(**{**given, "stop": tuple(given.get("stop", ()))}),
        )
        return StreamingResponse(self._events(asked), media_type="text/event-stream")

    async def complete(self, request):
        body = await self._body(request)
        if "prompt_logprobs" not in body:
            return await self.generate(request)
        if not self.scoring:
            return JSONResponse({"choices": [{"text": "x"}]})
        said = await self.engine.score(
            self._scored, "".join(self._pieces(body["prompt"][-self._asked :])), self.names.get(body["model"])
        )
        given = [None] * (len(body["prompt"]) - len(said))
        given += [
            {str(token): {"logprob": score}, "7": {"logprob": -9.0}}
            for token, score in zip(body["prompt"][-len(said) :], said, strict=True)
        ]
        return JSONResponse({"choices": [{"prompt_logprobs": given}]})

    async def tokenize(self, request):
        body = await self._body(request)
        if "messages" in body:
            self._scored = tuple(Message(**turn) for turn in body["messages"])
            tokens = self.engine._encode("a prompt of some words")
        else:
            tokens = self.engine._encode(body["prompt"])
            self._asked = len(tokens)
        return JSONResponse({"tokens": tokens, "count": len(tokens)})

    async def load(self, request):
        body = await self._body(request)
        if not self.loading:
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        if body["lora_name"] in self.names:
            return _error(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        path = Path(body["lora_path"])
        manifest = json.loads((path / "manifest.json").read_text())
        version = AdapterVersion(
            department=manifest["department"],
            digest=manifest["digest"],
            path=path,
            base_digest=manifest["base_digest"],
            rank=2,
            size_bytes=1,
        )
        try:
            await self.engine.load(version)
        except AssistantError as error:
            return _error(400, str(error))
        self.names[body["lora_name"]] = version.digest
        return JSONResponse("Success")

    async def unload(self, request):
        body = await self._body(request)
        if body["lora_name"] not in self.names:
            return _error(404, "The lora adapter cannot be found: no such model.")
        del self.names[body["lora_name"]]
        return JSONResponse("Success")

    async def _body(self, request):
        body = await request.json()
        self.bodies.append(body)
        return body

    def _pieces(self, tokens):
        return [self.engine._pieces[token] for token in tokens]

    def _refused(self, request, body):
        if self.refuse is not None:
            status, message, headers = self.refuse
            return _error(status, message, headers)
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "Unauthorized")
        if body["model"] != MODEL and body["model"] not in self.names:
            return _error(404, f"The model `{body['model']}` does not exist.")
        return None

    async def _events(self, asked):
        self.open_streams += 1
        try:
            async with aclosing(self.engine.generate(asked)) as deltas:
                count = 0
                async for delta in deltas:
                    count += 1
                    if self.break_after is not None and count > self.break_after:
                        return
                    said = {"delta": {"content": delta.text}} if asked.messages else {"text": delta.text}
                    yield _event({"choices": [{**said, "finish_reason": delta.finish}]})
                usage = {
                    "prompt_tokens": delta.prompt_tokens,
                    "completion_tokens": delta.completion_tokens,
                }
                yield _event({"choices": [], "usage": usage})
                yield "data: [DONE]\n\n"
        finally:
            self.open_streams -= 1


def _event(content):
    return f"data: {json.dumps(content)}\n\n"


def _error(status, message, headers=None):
    return JSONResponse({"error": {"message": message, "code": status}}, status_code=status, headers=headers)


@contextmanager
def serving(served):
    """Run the server in a thread; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(served.application(), log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
