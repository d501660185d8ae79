"""The documents a caller may read, over HTTP; and removing one, for those who may manage the workspace.

Every route goes through the caller's permitted access classes, so that a document they may not read and
one that is not there get the same answer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from assistant.api.auth import Caller, TheCaller
from assistant.api.routes import FAILURES
from assistant.api.schemas import Body, ReceiptBody, receipt_body
from assistant.errors import BadRequest, Forbidden, Unknown
from assistant.removal import Removal
from assistant.store.likenesses import Alike, Likenesses
from assistant.store.readable import Readable
from assistant.types import Document

router = APIRouter(responses=FAILURES, tags=["documents"])
_LIMIT = 100
_ID = re.compile(r"[0-9a-f]{16}")


class DocumentBody(Body):
    """A document, as those may see it who may read it."""

    id: str
    source: str
    uri: str = Field(description="its path in the source")
    title: str
    media_type: str
    size_bytes: int
    content_digest: str = Field(description="sha256 of the file, in hex")
    department: str | None
    classification: str
    dated: str | None
    superseded_by: str | None = Field(
        description="id of a newer document or edition that search returns instead, if the caller may read it"
    )
    ingested_at: str


class AlikeBody(Body):
    """A near-duplicate that the caller may read as well."""

    id: str
    source: str
    uri: str
    title: str
    likeness: float = Field(description="share of their text that both have, estimated")


class DocumentText(DocumentBody):
    """GET /v1/documents/ID: with the text that citations' `start` and `end` count in, if asked for."""

    near_duplicates: tuple[AlikeBody, ...]
    text: str | None = None


class DocumentList(Body):
    """GET /v1/documents: in order of source and path; `next` is given back as `after` for the rest."""

    data: tuple[DocumentBody, ...]
    next: str | None


class RemovalBody(Body):
    """DELETE /v1/documents/ID: the deletion receipt."""

    id: str
    source: str
    uri: str
    chunks: int
    change: int = Field(description="an index that has followed so far no longer holds the document")
    indexes: dict[str, int] = Field(description="the change that each index of this process has followed")
    caches: dict[str, int] = Field(description="kept computations that this process let go of")
    adapters: tuple[str, ...] = Field(description="adapter versions that were trained on the document")
    receipt: ReceiptBody


@router.get("/v1/documents")
async def documents(
    caller: TheCaller,
    response: Response,
    source: str | None = None,
    limit: Annotated[int, Query(ge=1, le=_LIMIT)] = _LIMIT,
    after: Annotated[str | None, Query(max_length=5000)] = None,
) -> DocumentList:
    """List the documents this caller may read."""
    response.headers["Cache-Control"] = "no-store"
    return await asyncio.to_thread(_listed, caller, source, limit, after)


@router.get("/v1/documents/{id}")
async def document(id: str, caller: TheCaller, response: Response, text: bool = False) -> DocumentText:
    """Return one document that this caller may read, with its text if asked for."""
    response.headers["Cache-Control"] = "no-store"
    return await asyncio.to_thread(_shown, caller, id, text)


@router.delete("/v1/documents/{id}")
async def remove(id: str, caller: TheCaller) -> RemovalBody:
    """Remove a document for good; the very next question, of anybody, cannot see it.

    For those who may manage the workspace, and read the document.
    """
    return await asyncio.to_thread(_removed, caller, id)


def _views(caller: Caller) -> tuple[Readable, Likenesses]:
    permitted = caller.app.permissions.permitted(caller.user())
    return caller.app.documents.readable(permitted), caller.app.documents.likenesses(permitted)


def _listed(caller: Caller, source: str | None, limit: int, after: str | None) -> DocumentList:
    view, likenesses = _views(caller)
    page = view.page(limit=limit, after=_place(after), source=source)
    more = _cursor(page[-1]) if len(page) == limit else None
    newer = likenesses.newer(page)
    return DocumentList(data=tuple(DocumentBody(**_fields(each, newer)) for each in page), next=more)


def _shown(caller: Caller, id: str, with_text: bool) -> DocumentText:
    view, likenesses = _views(caller)
    found = _found(view, id)
    text = view.text(id) if with_text else None
    if with_text and text is None:  # it went between the two
        raise _unknown(id)
    newer = likenesses.newer([found])
    near = tuple(_alike(each) for each in likenesses.near(id))
    return DocumentText(**_fields(found, newer), near_duplicates=near, text=text)


def _alike(other: Alike) -> AlikeBody:
    own = other.document
    likeness = round(other.likeness, 2)
    return AlikeBody(id=own.id, source=own.source, uri=own.uri, title=own.title, likeness=likeness)


def _removed(caller: Caller, id: str) -> RemovalBody:
    app, user = caller.app, caller.user()
    if app.access.may(user, "manage").action != "allow":
        raise Forbidden("Documents are removed by those who may manage the workspace.")
    found = _found(_views(caller)[0], id)
    return _receipt(app.remover.remove(found.id, by=user.id))


def _found(view: Readable, id: str) -> Document:
    found = view.get(id) if _ID.fullmatch(id) else None
    if found is None:
        raise _unknown(id)
    return found


def _receipt(removal: Removal) -> RemovalBody:
    document = removal.document
    return RemovalBody(
        id=document.id,
        source=document.source,
        uri=document.uri,
        chunks=removal.chunks,
        change=removal.change,
        indexes=dict(removal.indexes),
        caches=dict(removal.caches),
        adapters=removal.adapters,
        receipt=receipt_body(removal.receipt),
    )


def _unknown(id: str) -> Unknown:
    return Unknown(f"No document {id!r}.", remedy="GET /v1/documents lists yours.")


def _fields(document: Document, newer: Mapping[str, Document]) -> dict[str, object]:
    """Take of a document what its reader may see: labels of others stay inside; `newer` they may read."""
    assert document.ingested_at is not None
    return {
        "id": document.id,
        "source": document.source,
        "uri": document.uri,
        "title": document.title,
        "media_type": document.media_type,
        "size_bytes": document.size_bytes,
        "content_digest": document.content_digest,
        "department": document.access_class.labels.department,
        "classification": document.access_class.labels.classification,
        "dated": document.dated,
        "superseded_by": newer[document.id].id if document.id in newer else None,
        "ingested_at": document.ingested_at.isoformat(timespec="milliseconds"),
    }


def _cursor(document: Document) -> str:
    place = json.dumps([document.source, document.uri])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _place(cursor: str | None) -> tuple[str, str]:
    if cursor is None:
        return ("", "")
    try:
        source, uri = json.loads(base64.urlsafe_b64decode(cursor))
        return (str(source), str(uri))
    except (binascii.Error, ValueError, TypeError):
        raise BadRequest("`after` is not what `next` was.", remedy="Give back `next` as it came.") from None
