"""The documents endpoints show what the caller may read, and hide the rest as if it were not there."""

import pytest

from assistant.testing.engine import FakeEngine
from assistant.testing.workspace import add
from assistant.types import Labels

BANDS = "hr/managers/bands.md"


def id_of(service, uri):
    return service.app.documents.find("sample", uri).id


def uris(response):
    return [document["uri"] for document in response.json()["data"]]


def test_the_list_holds_what_the_caller_may_read(service):
    assert BANDS not in uris(service.get("/v1/documents"))
    assert BANDS in uris(service.get("/v1/documents", "grete"))
    assert uris(service.get("/v1/documents", "kim", params={"source": "sample"})) == [
        "hr/leave.md",
        "legal/contracts.md",
    ]
    assert uris(service.get("/v1/documents", params={"source": "other"})) == []


def test_the_list_comes_in_pages(service):
    whole, place = [], None
    while True:
        params = {"limit": 1} | ({"after": place} if place else {})
        body = service.get("/v1/documents", "farid", params=params).json()
        whole += [document["uri"] for document in body["data"]]
        if not (place := body["next"]):
            break
    assert whole == uris(service.get("/v1/documents", "farid"))
    for wrong in ("x", "e30=", "W10=", "é"):
        assert service.get("/v1/documents", params={"after": wrong}).status_code == 400


def test_a_document_comes_with_the_text_that_citations_count_in(service):
    id = id_of(service, "hr/leave.md")
    body = service.get(f"/v1/documents/{id}", params={"text": "true"}).json()
    assert body["uri"] == "hr/leave.md" and body["text"].startswith("Parental leave")
    assert service.get(f"/v1/documents/{id}").json()["text"] is None


@pytest.mark.parametrize("method", ["get", "delete"])
def test_not_found_and_not_permitted_are_byte_for_byte_alike(service, method):
    hidden, none = id_of(service, "hr/managers/bands.md"), "0" * 16
    caller = {"get": "ana", "delete": "operator"}[method]
    if method == "delete":
        people = service.app.settings.path(service.app.settings.people)
        people.write_text(people.read_text() + "  operator: {groups: [operators]}\n")
    with service.client(service.key(caller)) as client:
        one, other = (getattr(client, method)(f"/v1/documents/{id}") for id in (hidden, none))
    assert one.status_code == other.status_code == 404
    assert one.text.replace(hidden, none) == other.text
    assert service.app.documents.get(hidden) is not None


def test_only_managers_of_the_workspace_remove(service):
    document = add(
        service.app, "gone.md", "A passing remark.", Labels(source="s", principals=frozenset({"everyone"}))
    )
    with service.client(service.key("ana")) as client:
        refused = [client.delete(f"/v1/documents/{id}") for id in (document.id, "0" * 16)]
    assert [response.status_code for response in refused] == [403, 403]
    assert refused[0].text == refused[1].text
    with service.client(service.key("farid")) as client:
        receipt = client.delete(f"/v1/documents/{document.id}").json()
        assert client.get(f"/v1/documents/{document.id}").status_code == 404
    assert (receipt["chunks"], receipt["adapters"]) == (1, [])
    assert set(receipt["indexes"].values()) == {receipt["change"]}
    (entry,) = service.app.log.of(document.id)
    assert (entry.kind, entry.user, entry.position) == (
        "document.removed",
        "farid",
        receipt["receipt"]["index"],
    )


def test_a_broken_policy_file_closes_everything_until_it_is_mended(served):
    service = served(FakeEngine())
    id = id_of(service, "hr/leave.md")
    file = service.app.settings.path(service.app.settings.policies) / "access.cedar"
    whole = file.read_text()
    assert service.get(f"/v1/documents/{id}").status_code == 200
    file.write_text("permit (")
    assert service.get(f"/v1/documents/{id}").status_code == 503
    assert service.complete().status_code == 503
    file.write_text("// nobody")
    assert service.get(f"/v1/documents/{id}").status_code == 404
    file.write_text(whole)
    assert service.get(f"/v1/documents/{id}").status_code == 200


def test_near_duplicates_that_the_caller_may_read_are_named(service):
    text = " ".join(
        f"Rule {number} of the parking lot is that slot {number} stays free." for number in range(40)
    )
    one, other = (
        add(service.app, uri, text, Labels(source="parking", principals=frozenset({who})))
        for uri, who in (("lot.md", "everyone"), ("hidden/lot.md", "group:managers"))
    )
    assert service.get(f"/v1/documents/{one.id}").json()["near_duplicates"] == []
    body = service.get(f"/v1/documents/{one.id}", "grete").json()
    assert body["near_duplicates"] == [
        {"id": other.id, "source": "parking", "uri": "hidden/lot.md", "title": "Lot", "likeness": 1.0}
    ]
    for document in (one, other):
        service.app.remover.remove(document.id, by="test")


def test_a_later_edition_is_named_where_it_may_be_read(service):
    text = " ".join(f"Rule {number} of the garage is that slot {number} stays free." for number in range(40))
    old, new = (
        add(service.app, uri, text, Labels(source="garage", principals=frozenset({who})), title="Garage")
        for uri, who in (("garage-2023.md", "everyone"), ("garage-2024.md", "group:managers"))
    )
    for caller, expected in (("ana", None), ("grete", new.id)):
        assert service.get(f"/v1/documents/{old.id}", caller).json()["superseded_by"] == expected
        listed = service.get("/v1/documents", caller, params={"source": "garage"}).json()["data"]
        assert {each["id"]: each["superseded_by"] for each in listed}[old.id] == expected
    for document in (old, new):
        service.app.remover.remove(document.id, by="test")
