"""API keys: created once, shown once, stored hashed, revocable.

It owns the table of keys and what a key may say about whom it speaks for; it knows no HTTP and decides
no access. A key is 256 random bits, so a plain sha256 of it is as good as a slow hash.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import RowMapping, insert, select, update

from assistant.errors import BadRequest, Forbidden, Unauthenticated, Unknown
from assistant.store.database import Database
from assistant.store.schema import api_keys

PREFIX = "ask-"
Kind = Literal["app", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as stored. A user's key speaks for `user_id`; an app's for the user it names if `acts_for`."""

    id: str
    kind: Kind
    name: str
    user_id: str | None
    acts_for: bool
    created_at: str
    revoked_at: str | None = None

    def speaks_for(self, named: str | None) -> str:
        """Return the id of the user a request is made for.

        Args:
            named: the end user the request names, if it names one.

        Raises:
            BadRequest: an app's key that must name the end user did not.
            Forbidden: the request names a user the key may not speak for.
        """
        if named and named != self.user_id and not self.acts_for:
            raise Forbidden(
                f"Key {self.id} may not act for user {named!r}.",
                remedy="Use a key created with `assistant keys create --app NAME --acts-for`.",
            )
        user = named or self.user_id
        if user is None:
            raise BadRequest(
                f"Key {self.id} acts for end users: the request must name one.",
                remedy="Set `user` in the request, or the X-Assistant-User header.",
            )
        return user


class Keys:
    """The keys of one workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, *, kind: Kind, name: str, user_id: str | None = None, acts_for: bool = False
    ) -> tuple[Key, str]:
        """Create a key; the second value is the secret, which is never to be had again.

        Raises:
            BadRequest: a key that would speak for nobody, or a user's key that would speak for others.
        """
        if kind == "user" and (user_id is None or acts_for):
            raise BadRequest("A user's key speaks for that user only.", remedy="Make a key for an app.")
        if user_id is None and not acts_for:
            raise BadRequest("A key needs a user, or the right to act for users.")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(
            id=f"key-{secrets.token_hex(6)}",
            kind=kind,
            name=name,
            user_id=user_id,
            acts_for=acts_for,
            created_at=_now(),
        )
        with self._database.write() as connection:
            connection.execute(
                insert(api_keys).values(
                    id=key.id,
                    hash=_hash(secret),
                    kind=kind,
                    name=name,
                    user_id=user_id,
                    acts_for=acts_for,
                    created_at=key.created_at,
                )
            )
        return key, secret

    def authenticate(self, secret: str) -> Key:
        """Return the key of a secret.

        Raises:
            Unauthenticated: unknown or revoked; the message does not say which.
        """
        query = select(api_keys).where(api_keys.c.hash == _hash(secret), api_keys.c.revoked_at.is_(None))
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise Unauthenticated(
                "This API key is not valid.", remedy="Create one with `assistant keys create`."
            )
        return _key(row)

    def revoke(self, id: str) -> None:
        """Make a key invalid at once, for good.

        Raises:
            Unknown: no such key that is still valid.
        """
        query = update(api_keys).where(api_keys.c.id == id, api_keys.c.revoked_at.is_(None))
        with self._database.write() as connection:
            if connection.execute(query.values(revoked_at=_now())).rowcount == 0:
                raise Unknown(f"No valid key {id}.", remedy="`assistant keys list` shows them.")

    def list(self) -> tuple[Key, ...]:
        """Return all keys, the oldest first, revoked ones included."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        with self._database.read() as connection:
            return tuple(_key(row) for row in connection.execute(query).mappings())


def _key(row: RowMapping) -> Key:
    return Key(**{name: row[name] for name in Key.__dataclass_fields__})


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
