"""The way to a model server: one HTTP client, trying again, time-outs, and what its failures are called.

It owns sockets and keeps them open between requests; it refuses to know what is said over them.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import httpx

from assistant.config import HttpEngine as HttpSettings
from assistant.engine import wire
from assistant.errors import AssistantError, EngineError

_DONE = "[DONE]"
_CONNECT_S = 10.0
_IDLE_S = 4.0
"""Servers close idle connections after five seconds (uvicorn, vLLM): be the first."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_END_S = 1.0
_UNANSWERED = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer of a server; `content` is its JSON, or its first characters if it is none."""

    status: int
    content: object
    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300

    @property
    def refusal(self) -> AssistantError:
        """What an answer that is not ok means."""
        return wire.refusal(self.status, self.content, self.headers)


class Connection:
    """Requests to one address. Any event loop may use it; each has sockets of its own.

    Args:
        url: with or without `/v1` at the end.
        reconnect_s: how long to go on trying while the server says nothing at all.
    """

    def __init__(self, url: str, settings: HttpSettings, *, reconnect_s: float) -> None:
        self._url, self._settings, self._reconnect_s = url, settings, reconnect_s
        self._clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}
        self._closed = False

    async def post(self, path: str, body: Mapping[str, object]) -> Reply:
        """Send a request and read the whole answer, whatever its status.

        As long as not a byte came back, it is sent again after pauses that double, with jitter.

        Raises:
            EngineError: no server, or none that answers in time.
        """
        return await self._read(await self._open(path, body))

    async def stream(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        """Send a request for a stream; return when that begins, for `events`. The caller closes it.

        Raises:
            EngineError: as `post` does.
            AssistantError: what the server's refusal means.
        """
        response = await self._open(path, body)
        if not response.is_success:
            raise (await self._read(response)).refusal
        return response

    async def events(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        """Yield the data of server-sent events up to `[DONE]`, one line each, as OpenAI's protocol has them.

        Raises:
            EngineError: the server broke off, or was silent for too long.
        """
        rest = b""
        pieces = response.aiter_bytes()
        try:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")  # not splitlines(): text may hold U+2028
                for line in lines:
                    data = line.removeprefix(b"data:").strip().decode(errors="replace")
                    if data == _DONE:
                        await _finished(pieces)
                        return
                    if line.startswith(b"data:") and data:
                        yield data
        except httpx.HTTPError as error:
            raise self._failed(error, begun=True) from error

    async def close(self) -> None:
        """Close this loop's sockets; answers that still run break off."""
        self._closed = True
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _open(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + self._reconnect_s, _FIRST_PAUSE_S
        while True:
            client = self._client()
            try:
                return await client.send(client.build_request("POST", path, json=body), stream=True)
            except httpx.HTTPError as error:
                wait = pause * random.uniform(0.5, 1.0)
                if self._closed or not isinstance(error, _UNANSWERED) or loop.time() + wait > end:
                    raise self._failed(error) from error
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _read(self, response: httpx.Response) -> Reply:
        try:
            await response.aread()
        except httpx.HTTPError as error:
            raise self._failed(error, begun=True) from error
        finally:
            await response.aclose()
        return Reply(status=response.status_code, content=_content(response), headers=response.headers)

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for other in [one for one in self._clients if one.is_closed()]:
                self._clients.pop(other, None)
            self._clients[loop] = self._new_client()
        return self._clients[loop]

    def _new_client(self) -> httpx.AsyncClient:
        key, wait = self._settings.api_key, self._settings.timeout_s
        return httpx.AsyncClient(
            base_url=self._url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=httpx.Timeout(wait, connect=min(_CONNECT_S, wait)),
            limits=httpx.Limits(max_keepalive_connections=64, keepalive_expiry=_IDLE_S),
            verify=self._certificates,
        )

    @cached_property
    def _certificates(self) -> ssl.SSLContext | bool:
        """Loaded once, and only where they are needed: reading them takes longer than a request."""
        return httpx.create_ssl_context() if self._url.startswith("https") else False

    def _failed(self, error: httpx.HTTPError, *, begun: bool = False) -> EngineError:
        if self._closed:
            return EngineError("The engine was closed before this answer was complete.")
        if isinstance(error, httpx.TimeoutException):
            return EngineError(
                f"The model server at {self._url} did not answer in time.",
                remedy="Raise `engine.timeout_s`, or see to the server.",
            )
        if begun:
            return EngineError(
                f"The model server at {self._url} broke off in the middle of an answer "
                f"({type(error).__name__}).",
                remedy="Ask again; if it happens again, see why the server stops.",
            )
        return EngineError(
            f"The model server at {self._url} cannot be reached: {type(error).__name__}.",
            remedy="See that it runs and that `engine.url` is right.",
        )


async def _finished(pieces: AsyncIterator[bytes]) -> None:
    """Read the end of a complete answer, so that its socket can be used again."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_END_S):
            async for _ in pieces:
                pass


def _content(response: httpx.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return response.text[:300]
