"""The contract at /openapi.json: FastAPI's description, and the form of a stream's chunks it cannot see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from assistant.api.completions import Chunk

_REFERENCE = "#/components/schemas/{model}"
CHUNK = {"$ref": _REFERENCE.format(model=Chunk.__name__)}


class Api(FastAPI):
    """A FastAPI application whose description also holds `Chunk`."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        _, made = models_json_schema([(Chunk, "serialization")], ref_template=_REFERENCE)
        schemas = document["components"]["schemas"]
        document["components"]["schemas"] = {**made["$defs"], **schemas}
        return document
