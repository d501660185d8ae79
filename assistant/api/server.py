"""The HTTP application: routes, limits, errors, and the life of the parts behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI, Response
from starlette.requests import Request

from assistant.api import documents, errors, search
from assistant.api.limits import BodyLimit, ClientGone
from assistant.api.openapi import Api
from assistant.api.routes import router
from assistant.app import App

STALE = timedelta(minutes=10)
VERSION = "1"


def ready(app: App) -> None:
    """Load what requests need: a wrong file stops the start, not a request."""
    app.warm()
    _ = app.people, app.keys


def create(app: App) -> FastAPI:
    """Return the ASGI application over a built workspace.

    `/docs` is off: its page loads assets from outside; `/openapi.json` is the contract.
    """

    @asynccontextmanager
    async def life(_api: FastAPI) -> AsyncIterator[None]:
        ready(app)
        await app.pin()
        app.log.close_interrupted(STALE)
        yield
        await app.close(app.settings.engine.drain_s)

    api = Api(
        title=f"{app.settings.company} assistant",
        version=VERSION,
        description="Answers from the company's documents, in the voice of a department, with receipts.",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    api.state.assistant = app
    api.include_router(router)
    api.include_router(documents.router)
    api.include_router(search.router)
    errors.install(api)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)

    api.add_exception_handler(ClientGone, gone)
    api.add_middleware(BodyLimit, max_bytes=app.settings.serve.max_body_bytes)
    return api
