"""Adapters on model servers: which are there, under which names, and loading them.

A name is never reused: vLLM keys its caches by name and not by content. It owns giving an adapter to every
replica, and again to one that lost it; it refuses kinds and ranks that no server takes before sending them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from assistant.config import HttpEngine as HttpSettings
from assistant.engine import wire
from assistant.engine.connection import Connection
from assistant.engine.servable import check
from assistant.errors import AdapterError, EngineError, Unsupported
from assistant.types import AdapterVersion

T = TypeVar("T")


class ServedAdapters:
    """The adapters of one engine behind HTTP.

    Args:
        servers: every server that must be given an adapter itself.
    """

    def __init__(self, settings: HttpSettings, servers: tuple[Connection, ...]) -> None:
        self._settings, self._servers = settings, servers
        self._known: dict[str, AdapterVersion] = {}

    def name(self, digest: str) -> str:
        """Return the model name that requests give.

        Raises:
            AdapterError: it was not added.
        """
        if digest not in self._known:
            raise AdapterError(f"Adapter {digest[:16]} is not loaded.", remedy="Load it first.")
        return self._settings.adapters.get(digest, self._known[digest].name)

    async def add(self, version: AdapterVersion, base_digest: str) -> None:
        """Check an adapter and load it, unless the server has it by configuration; twice is a no-op.

        Raises:
            AdapterError: it cannot be served, or no server took it.
        """
        if version.digest in self._known:
            return
        loads = self._loads(version)
        largest = self._settings.max_lora_rank if loads else None
        await asyncio.to_thread(check, version, base_digest, max_rank=largest)
        if loads:
            await self._load(version)
        elif self._settings.server == "hosted" and version.digest not in self._settings.adapters:
            raise AdapterError(
                f"Nobody said under which name the hosted server knows adapter {version.name}.",
                remedy=f"Upload it there and set `engine.adapters: {{{version.digest}: NAME}}`.",
            )
        self._known[version.digest] = version

    async def remove(self, digest: str) -> None:
        """Forget an adapter; a server that cannot be reached has forgotten it."""
        version = self._known.pop(digest, None)
        if version is None or not self._loads(version):
            return
        request = {"lora_name": version.name}
        sent = (one.post("/v1/unload_lora_adapter", request) for one in self._servers)
        for result in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, EngineError):
                raise result

    async def with_it(self, digest: str | None, send: Callable[[], Awaitable[T]]) -> T:
        """Send a request; where the server does not know the adapter (any more), load it and send again.

        Raises:
            AdapterError: that did not help, or the adapter is none that we load.
        """
        try:
            return await send()
        except AdapterError:
            version = self._known.get(digest or "")
            if version is None or not self._loads(version):
                raise
        await self._load(version)
        try:
            return await send()
        except AdapterError as error:
            raise AdapterError(
                f"{version.name} was loaded, and the next request did not find it.",
                remedy="If several servers share `engine.url`, name each in `engine.replicas`.",
            ) from error

    def _loads(self, version: AdapterVersion) -> bool:
        """Whether this adapter is loaded at run time; the others are there already."""
        chosen = self._settings
        return chosen.server == "vllm" and chosen.load_adapters and version.digest not in chosen.adapters

    async def _load(self, version: AdapterVersion) -> None:
        """Give it to each server that can be reached; one is enough, the others ask for it in time."""
        sent = (self._load_at(one, version) for one in self._servers)
        results = await asyncio.gather(*sent, return_exceptions=True)
        errors = [error for error in results if isinstance(error, BaseException)]
        for error in errors:
            if not isinstance(error, EngineError) or isinstance(error, Unsupported):
                raise error
        if len(errors) == len(results):
            raise errors[0]

    async def _load_at(self, server: Connection, version: AdapterVersion) -> None:
        folder = str(version.path.resolve())
        reply = await server.post("/v1/load_lora_adapter", {"lora_name": version.name, "lora_path": folder})
        if reply.ok or "already" in wire.message(reply.content):
            return
        error = reply.refusal
        if isinstance(error, Unsupported):
            raise Unsupported(
                "The model server does not load adapters at run time.",
                remedy="Start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora, "
                "or set `engine.load_adapters: false` and serve them by name.",
            ) from error
        if reply.status in (401, 403, 429, 503):
            raise error
        raise AdapterError(
            f"{version.name} was not loaded: {wire.message(reply.content)}",
            remedy=f"The model server must see {folder} under this path; its own log says more.",
        ) from error
