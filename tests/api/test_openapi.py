from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from assistant.api.completions import Chunk, Completion
from assistant.api.schemas import ErrorBody, ModelList, ProofBody

SECURED = {
    *("/v1/chat/completions", "/v1/answers", "/v1/models", "/v1/receipts/{id}", "/metrics"),
    *("/v1/search", "/v1/documents", "/v1/documents/{id}"),
}


@pytest.fixture(scope="module")
def contract(service):
    with service.client() as client:
        return client.get("/openapi.json").json()


def test_every_route_is_described(contract):
    assert set(contract["paths"]) == {*SECURED, "/healthz", "/readyz"}
    for path, methods in contract["paths"].items():
        for operation in methods.values():
            assert operation["description"] and operation["tags"]
            assert {"200", "4XX", "5XX"} <= set(operation["responses"])
            assert "422" not in operation["responses"]
            assert (operation.get("security") == [{"ApiKey": []}]) == (path in SECURED)


def test_the_key_is_a_bearer_scheme(contract):
    scheme = contract["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_is_there(contract):
    known = {f"#/components/schemas/{name}" for name in contract["components"]["schemas"]}
    assert set(references(contract)) <= known
    assert {"Chunk", "Completion", "Extension", "CitationBody", "ReceiptBody", "ErrorBody"} <= set(
        contract["components"]["schemas"]
    )


def test_a_completion_is_described_whole_and_in_chunks(contract):
    content = contract["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Completion"}
    assert content["text/event-stream"]["schema"] == {"$ref": "#/components/schemas/Chunk"}


def test_what_is_sent_is_what_is_described(service):
    def exact(schema, data):
        strict = TypeAdapter(schema)
        value = strict.validate_json(json.dumps(data))
        assert json.loads(strict.dump_json(value)) == data

    completion = service.complete().json()
    exact(Completion, completion)
    for event in service.stream(stream_options={"include_usage": True})[:-1]:
        exact(Chunk, event)
    exact(ModelList, service.get("/v1/models").json())
    exact(ProofBody, service.get(f"/v1/receipts/{completion['assistant']['receipt']['id']}").json())
    exact(ErrorBody, service.complete(model="none").json())
