from __future__ import annotations

import pytest
from sqlalchemy import select

from assistant.errors import BadRequest, Forbidden, Unauthenticated, Unknown
from assistant.store.database import Database
from assistant.store.keys import PREFIX, Keys
from assistant.store.schema import api_keys


@pytest.fixture
def database(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'keys.db'}")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def keys(database):
    return Keys(database)


def test_the_secret_opens_and_is_not_stored(keys, database):
    key, secret = keys.create(kind="user", name="ana", user_id="ana")
    assert secret.startswith(PREFIX) and len(secret) > 40
    assert keys.authenticate(secret) == key
    with database.read() as connection:
        (row,) = connection.execute(select(api_keys)).all()
    assert secret not in repr(row) and secret.removeprefix(PREFIX) not in repr(row)
    assert secret not in repr(key)


@pytest.mark.parametrize("wrong", ["", "ask-", "ask-nothing", "' OR 1=1 --", "ключ"])
def test_a_wrong_secret_does_not(keys, wrong):
    keys.create(kind="user", name="ana", user_id="ana")
    with pytest.raises(Unauthenticated, match="not valid"):
        keys.authenticate(wrong)


def test_a_revoked_key_fails_at_once_with_the_words_of_an_unknown_one(keys):
    key, secret = keys.create(kind="user", name="ana", user_id="ana")
    keys.revoke(key.id)
    with pytest.raises(Unauthenticated) as revoked:
        keys.authenticate(secret)
    with pytest.raises(Unauthenticated) as unknown:
        keys.authenticate("ask-nothing")
    assert str(revoked.value) == str(unknown.value)
    (listed,) = keys.list()
    assert listed.id == key.id and listed.revoked_at is not None


def test_revoking_twice_or_an_unknown_key(keys):
    key, _ = keys.create(kind="user", name="ana", user_id="ana")
    keys.revoke(key.id)
    for id in (key.id, "key-none"):
        with pytest.raises(Unknown, match=id):
            keys.revoke(id)


def test_revoking_one_leaves_the_others(keys):
    first, first_secret = keys.create(kind="user", name="ana", user_id="ana")
    second, second_secret = keys.create(kind="user", name="ana", user_id="ana")
    keys.revoke(first.id)
    assert keys.authenticate(second_secret).id == second.id
    assert first_secret != second_secret


def test_a_users_key_speaks_for_that_user_only(keys):
    key, _ = keys.create(kind="user", name="ana", user_id="ana")
    assert key.speaks_for(None) == key.speaks_for("") == key.speaks_for("ana") == "ana"
    with pytest.raises(Forbidden, match="may not act"):
        key.speaks_for("grete")


def test_an_apps_key_names_its_user(keys):
    key, _ = keys.create(kind="app", name="portal", acts_for=True)
    assert key.speaks_for("grete") == "grete"
    with pytest.raises(BadRequest, match="must name one"):
        key.speaks_for(None)


def test_an_apps_key_with_a_user_of_its_own(keys):
    bound, _ = keys.create(kind="app", name="kiosk", user_id="kim")
    assert bound.speaks_for(None) == "kim"
    with pytest.raises(Forbidden):
        bound.speaks_for("ana")
    either, _ = keys.create(kind="app", name="portal", user_id="kim", acts_for=True)
    assert (either.speaks_for(None), either.speaks_for("ana")) == ("kim", "ana")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "app", "name": "portal"},
        {"kind": "user", "name": "ana"},
        {"kind": "user", "name": "ana", "acts_for": True},
        {"kind": "user", "name": "ana", "user_id": "ana", "acts_for": True},
    ],
)
def test_a_key_that_speaks_for_nobody_or_too_many_is_refused(keys, wrong):
    with pytest.raises(BadRequest):
        keys.create(**wrong)
    assert keys.list() == ()


def test_keys_survive_a_restart(keys, database, tmp_path):
    _, secret = keys.create(kind="user", name="ana", user_id="ana")
    again = Database.open(f"sqlite:///{tmp_path / 'keys.db'}")
    try:
        assert Keys(again).authenticate(secret).user_id == "ana"
    finally:
        again.close()
