"""A database of many chunks, as an ingest would leave it, for the parts that start from SQL."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.store.database import Database
from assistant.store.documents import Documents
from assistant.store.records import NewChunk, NewDocument
from assistant.types import Labels
from benchmarks.searching.collection import Collection


def fill(collection: Collection, file: Path, count: int, per_document: int) -> Documents:
    """Store `count` chunks, `per_document` in each; every document has one of the collection's classes."""
    database = Database.open(f"sqlite:///{file}")
    database.migrate()
    documents = Documents(database)
    number = 0
    for vectors, classes in collection.many(count):
        for first in range(0, len(vectors), per_document):
            own = vectors[first : first + per_document]
            _put(collection, documents, number, own, f"class:{classes[first]}")
            number += 1
    return documents


def _put(
    collection: Collection, documents: Documents, number: int, vectors: NDArray[np.float16], principal: str
) -> None:
    start = number * len(vectors) % len(collection.texts)
    texts = list(islice((*collection.texts[start:], *collection.texts), len(vectors)))
    chunks, at = [], 0
    for ordinal, text in enumerate(texts):
        chunks.append(NewChunk(ordinal=ordinal, text=text, start=at, end=at + len(text)))
        at += len(text) + 1
    new = NewDocument(
        source="benchmark",
        uri=f"{number}.txt",
        title=f"Document {number}",
        media_type="text/plain",
        content_digest=str(number),
        fingerprint="1",
        size_bytes=at,
        labels=Labels(source="benchmark", principals=frozenset({principal})),
        text="\n".join(texts),
    )
    documents.put(new, chunks, vectors, collection.embedder.digest)
