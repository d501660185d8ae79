"""Errors on the wire: every one in OpenAI's shape, with the status that says whose turn it is."""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from assistant.errors import (
    AssistantError,
    BadRequest,
    DeadlineExceeded,
    Forbidden,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unknown,
    Unsupported,
)

log = logging.getLogger("assistant.api")

_STATUS: tuple[tuple[type[AssistantError], int, str], ...] = (
    (TooLarge, 413, "invalid_request_error"),
    (Unknown, 404, "invalid_request_error"),
    (BadRequest, 400, "invalid_request_error"),
    (Unsupported, 400, "invalid_request_error"),
    (Unauthenticated, 401, "authentication_error"),
    (Forbidden, 403, "permission_error"),
    (Overloaded, 429, "rate_limit_error"),
    (DeadlineExceeded, 504, "server_error"),
    (AssistantError, 503, "server_error"),
)


def status_of(error: AssistantError) -> tuple[int, str]:
    """Return the HTTP status and OpenAI's error type of an error."""
    return next((status, kind) for cls, status, kind in _STATUS if isinstance(error, cls))


def body(message: str, kind: str, *, code: str | None = None, param: str | None = None) -> dict[str, object]:
    """Return an error body in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_body(error: AssistantError) -> dict[str, object]:
    """Return the body of one of our errors. What broke inside is logged, not sent."""
    status, kind = status_of(error)
    if status == 503:
        log.error("%s: %s", type(error).__name__, error)
        return body("The assistant cannot answer now. Try again later.", kind, code=type(error).__name__)
    return body(str(error), kind, code=type(error).__name__)


def unexpected_body(error: Exception) -> dict[str, object]:
    """Return the body of an error nobody foresaw: it is logged, not sent."""
    log.error("unexpected error", exc_info=error)
    return body("The assistant failed. The error was logged.", "server_error")


def install(app: FastAPI) -> None:
    """Make the application answer every error in OpenAI's shape."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, AssistantError)
        status, _ = status_of(error)
        headers = {}
        if isinstance(error, Overloaded):
            headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(error_body(error), status, headers)

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        named = first["type"] != "json_invalid"  # else the place is a position in the text
        param = ".".join(str(part) for part in first["loc"][1:]) if named else ""
        text = f"{param or 'body'}: {first['msg']}"
        return JSONResponse(body(text, "invalid_request_error", param=param or None), 400)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        content = body(str(error.detail), "invalid_request_error")
        return JSONResponse(content, error.status_code, error.headers)

    async def unexpected(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(unexpected_body(error), 500)

    app.add_exception_handler(AssistantError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)
