"""How the server stops: nothing new, time for what runs, then an error for the rest."""

from __future__ import annotations

import asyncio
import math
import socket

import uvicorn

from assistant.api.server import create
from assistant.app import App

_LAST_S = 5
"""What answers that were ended get to be recorded and told, before uvicorn cuts them."""


class DrainingServer(uvicorn.Server):
    """Serves an application until a signal; then running answers get `engine.drain_s` to finish.

    Those that do not are ended by the engine, so that their clients get an error in OpenAI's shape and
    their entries are closed. uvicorn alone would cut their connections.
    """

    def __init__(self, app: App, *, access_log: bool = True) -> None:
        self._app = app
        self._drain_s = app.settings.engine.drain_s
        most_s = math.ceil(self._drain_s) + _LAST_S
        super().__init__(uvicorn.Config(create(app), access_log=access_log, timeout_graceful_shutdown=most_s))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking connections, wait for answers, close the application."""
        ending = asyncio.create_task(self._end_answers())
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()

    async def _end_answers(self) -> None:
        await asyncio.sleep(self._drain_s)
        await self._app.engine.close()
