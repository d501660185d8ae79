"""The values that go into and come out of the document store, beside those of `assistant.types`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assistant.store.unrecorded import Unrecorded
from assistant.types import Document, Labels

Vectors = NDArray[np.float16] | NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """A document as an ingest hands it over.

    `fingerprint` is the source's cheap sign of change (size and time, a version id); `supersedes` is
    the uri of an older document of the same source, and `supersedes_else`, which is shorter, the one that
    is meant while nothing is there; `recipe` names how the text was cut into chunks, so that a change of
    it is seen.
    """

    source: str
    uri: str
    title: str
    media_type: str
    content_digest: str
    fingerprint: str
    size_bytes: int
    labels: Labels
    text: str
    dated: str | None = None
    supersedes: str | None = None
    supersedes_else: str | None = None
    language: str | None = None
    recipe: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChunk:
    """A piece of a new document: `text == document.text[start:end]`."""

    ordinal: int
    text: str
    start: int
    end: int
    page: int | None = None
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an ingest compares to see whether a document changed."""

    id: str
    uri: str
    fingerprint: str
    content_digest: str
    labels_digest: str
    embedder: str
    recipe: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A document that is gone; an index that has followed up to `note.change` no longer holds it."""

    document: Document
    note: Unrecorded


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedChunk:
    """A living chunk as a derived index takes it. `vector` is float16 of shape (dimensions,)."""

    id: int
    class_id: int
    text: str
    headings_text: str
    vector: NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What happened after a change number. Ask again from `number` until it no longer moves."""

    number: int
    upserted: tuple[IndexedChunk, ...]
    removed: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorChanges:
    """Changes as the dense index takes them, without texts: arrays over the chunks that live.

    `ids` and `class_ids` have shape (chunks,), `vectors` (chunks, dimensions), `removed` (removals,).
    """

    number: int
    ids: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    vectors: NDArray[np.float16]
    removed: NDArray[np.int64]


def title_path(title: str, headings: tuple[str, ...]) -> str:
    """Join a title and the headings above a chunk: the words that place it, embedded with its text."""
    return " › ".join([title, *(heading for heading in headings if heading != title)])
