"""The engine behind HTTP: vLLM, or a hosted endpoint that serves adapters by model name.

It owns connections, time-outs and adapter loading under immutable names (`department@digest`: vLLM keys
its caches by name, so a name is never reused). It refuses to guess: what the server cannot do is
Unsupported.
"""

from __future__ import annotations

import hashlib
import math
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from assistant.config import HttpEngine as HttpSettings
from assistant.engine import wire
from assistant.engine.base import Delta, Fingerprint, Finish, GenerateRequest
from assistant.engine.slots import check
from assistant.errors import AdapterError, BadRequest, EngineError, TooLarge, Unsupported
from assistant.types import AdapterVersion, Message

if TYPE_CHECKING:
    from assistant.engine.chat import ChatTokenizer

_BYTES_PER_TOKEN, _MOST_BYTES_PER_TOKEN = 3, 8
_CONNECT_S = 10.0


class HttpEngine:
    """A served base model with adapters chosen per request by name."""

    def __init__(
        self,
        settings: HttpSettings,
        *,
        base_digest: str | None = None,
        tokenizer: ChatTokenizer | None = None,
        digests: tuple[str, str] = ("", ""),
    ) -> None:
        self._settings, self._base_digest, self._tokenizer = settings, base_digest, tokenizer
        self._digests = digests
        self._loaded: dict[str, AdapterVersion] = {}

    @classmethod
    def connect(
        cls, settings: HttpSettings, *, base_digest: str | None = None, folder: Path | None = None
    ) -> HttpEngine:
        """Describe a server; nothing is sent yet.

        Args:
            base_digest: digest of the base model it serves; adapters of another base are refused.
                None: the operator vouches for it.
            folder: the base model's folder, if it is here: its tokenizer counts exactly. Without it
                tokens are estimated from bytes.
        """
        if folder is None:
            return cls(settings, base_digest=base_digest)
        from assistant.engine.chat import ChatTokenizer
        from assistant.models.identity import identify

        identity = identify(folder)
        return cls(
            settings,
            base_digest=base_digest or identity.base_digest,
            tokenizer=ChatTokenizer(folder),
            digests=(identity.tokenizer_digest, identity.template_digest),
        )

    @property
    def fingerprint(self) -> Fingerprint:
        """What is known of a server from outside: its address and model name, and the pinned base."""
        served = f"{self._settings.url} {self._settings.model}"
        tokenizer_digest, template_digest = self._digests
        return Fingerprint(
            base_digest=self._base_digest or hashlib.sha256(served.encode()).hexdigest(),
            tokenizer_digest=tokenizer_digest,
            template_digest=template_digest,
            engine="http",
            dtype="served",
            threads=0,
            versions=(served,),
        )

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus completion, in tokens, as configured."""
        return self._settings.context_tokens

    def count_tokens(self, text: str) -> int:
        """Return number of tokens of `text`; without the tokenizer an estimate on the high side."""
        if self._tokenizer is not None:
            return self._tokenizer.count(text)
        return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return number of tokens of a whole rendered prompt; without the tokenizer an estimate."""
        if self._tokenizer is not None:
            return len(self._tokenizer.prompt(messages))
        return sum(self.count_tokens(message.content) + 8 for message in messages)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Stream one completion; closing the iterator closes the connection, and the server stops."""
        if not request.tokens and not request.messages:
            raise BadRequest("The request holds neither messages nor tokens.")
        self._fits(request)
        body = wire.body(request, self._name(request.adapter))
        finish: Finish | None = None
        prompt_tokens = completion_tokens = 0
        async with aclosing(self._events(wire.path(request), body)) as events:
            async for event in events:
                finish = event.finish or finish
                prompt_tokens = event.prompt_tokens or prompt_tokens
                completion_tokens = event.completion_tokens or completion_tokens
                if event.text:
                    yield Delta(text=event.text, tokens=event.tokens)
        if finish is None:
            raise EngineError("The model server ended the stream before the answer was complete.")
        yield Delta(text="", finish=finish, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)

    async def score(
        self, messages: Sequence[Message], completion: str, adapter: str | None = None
    ) -> list[float]:
        """Log-probabilities by vLLM's `prompt_logprobs`; Unsupported where the server has none."""
        model = self._name(adapter)
        prompt, tokens = await self._tokens(messages, completion)
        if not tokens:
            return []
        if len(prompt) + len(tokens) > self.context_tokens:
            raise TooLarge(f"Prompt and completion take more than {self.context_tokens} tokens.")
        request = {"model": model, "prompt": [*prompt, *tokens], "max_tokens": 1, "prompt_logprobs": 0}
        return wire.prompt_scores(await self._post("/v1/completions", request), tokens)

    async def load(self, version: AdapterVersion) -> None:
        """Make an adapter servable under `version.name`; the server must see the same path."""
        if version.digest in self._loaded:
            return
        check(version, self._base_digest or version.base_digest)
        if self._settings.load_adapters:
            await self._load(version)
        self._loaded[version.digest] = version

    async def unload(self, digest: str) -> None:
        """Forget an adapter; the name stays taken."""
        version = self._loaded.pop(digest, None)
        if version is None or not self._settings.load_adapters:
            return
        try:
            await self._post("/v1/unload_lora_adapter", {"lora_name": version.name})
        except (AdapterError, Unsupported):
            return  # the server does not know it (any more)

    async def close(self) -> None:
        """Nothing is kept open between requests."""

    async def _load(self, version: AdapterVersion) -> None:
        request = {"lora_name": version.name, "lora_path": str(version.path.resolve())}
        try:
            await self._post("/v1/load_lora_adapter", request)
        except Unsupported as error:
            raise Unsupported(
                "The model server does not load adapters at run time.",
                remedy="Start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora, "
                "or set `engine.load_adapters: false` and serve them by name.",
            ) from error
        except EngineError as error:
            if "already" not in error.message:
                raise AdapterError(f"{version.name} was not loaded: {error.message}") from error

    def _name(self, adapter: str | None) -> str:
        if adapter is None:
            return self._settings.model
        if adapter not in self._loaded:
            raise AdapterError(f"Adapter {adapter[:16]} is not loaded.", remedy="Load it first.")
        return self._loaded[adapter].name

    def _fits(self, request: GenerateRequest) -> None:
        """Refuse what surely does not fit; the server knows the rest."""
        if request.tokens:
            tokens = len(request.tokens)
        elif self._tokenizer is not None:
            tokens = self.prompt_tokens(request.messages)
        else:
            tokens = sum(len(turn.content.encode()) for turn in request.messages) // _MOST_BYTES_PER_TOKEN
        if tokens + request.sampling.max_tokens > self.context_tokens:
            raise TooLarge(
                f"Prompt and answer may take {tokens + request.sampling.max_tokens} tokens; "
                f"the model's context holds {self.context_tokens}.",
                remedy="Shorten the question or the history.",
            )

    async def _tokens(self, messages: Sequence[Message], completion: str) -> tuple[list[int], list[int]]:
        if self._tokenizer is not None:
            return self._tokenizer.prompt(messages), self._tokenizer.encode(completion)
        model = self._settings.model
        rendered = {"model": model, "messages": wire.turns(messages), "add_generation_prompt": True}
        plain = {"model": model, "prompt": completion, "add_special_tokens": False}
        answers = [await self._post("/tokenize", request) for request in (rendered, plain)]
        try:
            prompt, tokens = ([int(token) for token in answer["tokens"]] for answer in answers)  # type: ignore[index]
        except (KeyError, TypeError, ValueError) as error:
            raise Unsupported("The model server does not tokenize.") from error
        return prompt, tokens

    async def _events(self, path: str, body: dict[str, object]) -> AsyncGenerator[wire.Event, None]:
        try:
            async with self._client() as client, client.stream("POST", path, json=body) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise wire.refusal(response.status_code, _json(response), response.headers)
                async for line in response.aiter_lines():
                    data = line.removeprefix("data:").strip()
                    if data == wire.DONE:
                        return
                    if line.startswith("data:") and data:
                        yield wire.event(data)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    async def _post(self, path: str, body: Mapping[str, object]) -> object:
        try:
            async with self._client() as client:
                response = await client.post(path, json=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise wire.refusal(response.status_code, _json(response), response.headers)
        return _json(response)

    def _client(self) -> httpx.AsyncClient:
        """Return a client for one request: it outlives no event loop."""
        key, wait = self._settings.api_key, self._settings.timeout_s
        return httpx.AsyncClient(
            base_url=self._settings.url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=httpx.Timeout(wait, connect=min(_CONNECT_S, wait)),
            verify=self._certificates,
        )

    @cached_property
    def _certificates(self) -> ssl.SSLContext | bool:
        """Loaded once, and only where they are needed: reading them takes longer than a request."""
        return httpx.create_ssl_context() if self._settings.url.startswith("https") else False

    def _unreachable(self, error: httpx.HTTPError) -> EngineError:
        if isinstance(error, httpx.TimeoutException):
            return EngineError(
                f"The model server at {self._settings.url} did not answer in time.",
                remedy="Raise `engine.timeout_s`, or see to the server.",
            )
        return EngineError(
            f"The model server at {self._settings.url} cannot be reached: {type(error).__name__}.",
            remedy="See that it runs and that `engine.url` is right.",
        )


def _json(response: httpx.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return response.text[:300]
