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


_SAMPLING = {
    "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "repetition_penalty",
    "presence_penalty", "logprobs", "stop",
}  # fmt: skip


class Served:
    """The routes; `engine` generates, `names` maps served adapter names to digests.

    What a test may set: `refuse` answers everything with (status, message, headers), `break_after` ends
    streams after so many events, `finish` is the reason that ends them, `unknown` a field it refuses,
    `ids` whether log-probabilities come by token id.
    """

    def __init__(self, engine, *, loading=True, scoring=True, key=None):
        self.engine, self.loading, self.scoring, self.key = engine, loading, scoring, key
        self.names = {}
        self.bodies, self.sockets, self.loads = [], set(), []
        self.open_streams = 0
        self.break_after = self.refuse = self.finish = self.unknown = None
        self.ids = True

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
        given = {name: value for name, value in body.items() if name in _SAMPLING}
        if "top_logprobs" in body:
            given["logprobs"] = body["top_logprobs"]
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
        if refused := self._refused(request, body):
            return refused
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
        self.loads.append(body["lora_name"])
        if self.refuse is not None:
            return _error(*self.refuse)
        if body["lora_name"] in self.names:
            return _error(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        path = Path(body["lora_path"])
        if not path.is_dir():
            return _error(404, f"Loading lora {body['lora_name']} failed: No adapter found for {path}")
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
            return _error(500, str(error))
        self.names[body["lora_name"]] = version.digest
        return JSONResponse("Success")

    async def unload(self, request):
        body = await self._body(request)
        if body["lora_name"] not in self.names:
            return _error(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        del self.names[body["lora_name"]]
        return JSONResponse("Success")

    async def _body(self, request):
        body = await request.json()
        self.bodies.append(body)
        self.sockets.add(request.client.port)
        return body

    def _pieces(self, tokens):
        return [self.engine._pieces[token] for token in tokens]

    def _refused(self, request, body):
        if self.refuse is not None:
            return _error(*self.refuse)
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, status_code=401)
        if self.unknown in body:
            return _error(400, f"Unrecognized request argument supplied: {self.unknown}")
        if body["model"] != MODEL and body["model"] not in self.names:
            return _error(404, f"The model `{body['model']}` does not exist.")
        return None

    def _logprobs(self, asked, delta):
        """The two forms of vLLM: chat's list of objects, and the parallel lists of completions."""
        if asked.sampling.logprobs is None:
            return None
        if asked.messages:
            return {
                "content": [
                    {"token": self._name(one.token), "logprob": one.logprob, "top_logprobs": [
                        {"token": self._name(token), "logprob": logprob} for token, logprob in one.likeliest
                    ]} for one in delta.logprobs
                ]
            }  # fmt: skip
        return {
            "tokens": [self._name(one.token) for one in delta.logprobs],
            "token_logprobs": [one.logprob for one in delta.logprobs],
            "top_logprobs": [
                {self._name(token): logprob for token, logprob in reversed(one.likeliest)}
                for one in delta.logprobs
            ],
        }

    def _name(self, token):
        return f"token_id:{token}" if self.ids else self.engine._pieces.get(token, "?")

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
                    said |= {"token_ids": delta.tokens, "logprobs": self._logprobs(asked, delta)}
                    finish = delta.finish and (self.finish or delta.finish)
                    yield _event({"choices": [{**said, "finish_reason": finish}]})
                usage = {
                    "prompt_tokens": delta.prompt_tokens,
                    "completion_tokens": delta.completion_tokens,
                }
                yield _event({"choices": [], "usage": usage})
                yield "data: [DONE]\n\n"
        finally:
            self.open_streams -= 1


def _event(content):
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _error(status, message, headers=None):
    return JSONResponse({"error": {"message": message, "code": status}}, status_code=status, headers=headers)


@contextmanager
def serving(served, port=0):
    """Run the server in a thread; yields its address."""
    listener = socket.create_server(("127.0.0.1", port))
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
