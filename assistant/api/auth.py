"""Who is calling: a bearer key, and the user it speaks for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from assistant.app import App
from assistant.errors import BadRequest, Unauthenticated
from assistant.store.keys import Key
from assistant.types import User

_BEARER = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="ask-…",
    description="A key made by `assistant keys create`, sent as `Authorization: Bearer KEY`.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A valid key, and the end user the request's header names, if it names one."""

    app: App
    key: Key
    header: str | None

    def user(self, named: str | None = None) -> User:
        """Return the user the request is made for.

        Args:
            named: the end user the body names, if it names one.

        Raises:
            BadRequest: body and header disagree, or the key needs a user and none is named.
            Forbidden: the key may not act for that user.
            Unknown: there is no such user.
        """
        if named and self.header and named != self.header:
            raise BadRequest(
                "The body and the X-Assistant-User header name different users.", remedy="Name one."
            )
        return self.app.people.user(self.key.speaks_for(named or self.header))


def application(request: Request) -> App:
    """Return the application a request belongs to."""
    app = request.app.state.assistant
    assert isinstance(app, App)
    return app


async def calling(
    app: Annotated[App, Depends(application)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    x_assistant_user: Annotated[
        str | None, Header(description="The end user an app's key acts for, if the body does not name one.")
    ] = None,
) -> Caller:
    """Return who calls. The key is looked up for every request, so that a revoked one fails at once.

    Raises:
        Unauthenticated: no key, or one that is not valid.
    """
    if credentials is None or not credentials.credentials.strip():
        raise Unauthenticated("No API key.", remedy="Send `Authorization: Bearer KEY`.")
    key = await asyncio.to_thread(app.keys.authenticate, credentials.credentials.strip())
    return Caller(app=app, key=key, header=x_assistant_user)


TheApp = Annotated[App, Depends(application)]
TheCaller = Annotated[Caller, Depends(calling)]
