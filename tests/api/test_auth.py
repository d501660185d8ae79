from __future__ import annotations

import pytest

QUESTION = {"question": "How long is parental leave?"}


def error(response):
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YW5hOng=", "Bearer ask-wrong", "ask-x"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/receipts/ans-1"])
def test_without_a_valid_key(service, header, path):
    with service.client() as client:
        response = client.get(path, headers={"Authorization": header} if header is not None else {})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert error(response)["type"] == "authentication_error"


def test_a_missing_key_comes_before_a_wrong_body(service):
    with service.client() as client:
        assert client.post("/v1/answers", json={"nothing": 1}).status_code == 401


def test_a_revoked_key_fails_with_the_next_request(service):
    key, secret = service.app.keys.create(kind="user", name="ana", user_id="ana")
    with service.client(secret) as client:
        assert client.get("/v1/models").status_code == 200
        service.app.keys.revoke(key.id)
        refused = client.get("/v1/models")
        unknown = client.get("/v1/models", headers={"Authorization": "Bearer ask-never-made"})
    assert refused.status_code == 401
    assert refused.json() == unknown.json()


@pytest.mark.parametrize("how", ["body", "header"])
def test_a_users_key_may_not_act_for_another(service, how):
    body = {**QUESTION, "user": "grete"} if how == "body" else QUESTION
    headers = {"X-Assistant-User": "grete"} if how == "header" else {}
    response = service.post("/v1/answers", body, headers=headers)
    assert response.status_code == 403
    assert error(response)["type"] == "permission_error"


@pytest.fixture(scope="module")
def portal(service):
    _, secret = service.app.keys.create(kind="app", name="portal", acts_for=True)
    with service.client(secret) as client:
        yield client


def test_an_apps_key_names_the_user_in_body_or_header(service, portal):
    for body, headers in (({**QUESTION, "user": "bjorn"}, {}), (QUESTION, {"X-Assistant-User": "bjorn"})):
        response = portal.post("/v1/answers", json=body, headers=headers)
        assert response.status_code == 200
        entries = service.entries(response.json()["receipt"]["id"])
        assert {entry.user for entry in entries} == {"bjorn"}
        assert entries[0].attributes["assistant.caller"].startswith("key-")


def test_an_apps_key_must_name_one_user(portal):
    assert portal.post("/v1/answers", json=QUESTION).status_code == 400
    both = portal.post("/v1/answers", json={**QUESTION, "user": "ana"}, headers={"X-Assistant-User": "grete"})
    assert both.status_code == 400
    assert "different users" in error(both)["message"]


def test_an_unknown_user(portal):
    response = portal.post("/v1/answers", json={**QUESTION, "user": "nobody"})
    assert response.status_code == 404
    assert "nobody" in error(response)["message"]


def test_permissions_are_those_of_the_named_user(portal):
    bands = {"question": "What is the salary band of a senior engineer?"}
    grete = portal.post("/v1/answers", json={**bands, "user": "grete"}).json()
    ana = portal.post("/v1/answers", json={**bands, "user": "ana"}).json()
    assert (grete["status"], ana["status"]) == ("answered", "abstained")
    assert "61,000" in grete["text"] and "61,000" not in str(ana)


def test_health_needs_no_key(service):
    with service.client() as client:
        assert client.get("/healthz").json()["status"] == "ok"
        assert client.get("/readyz").json()["status"] == "ready"
