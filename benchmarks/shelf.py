"""A store and its search, filled from texts that are cut already: what benchmarks of retrieval rank."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assistant.retrieval.rank import Found
from assistant.retrieval.search import Search
from assistant.store.database import Database
from assistant.store.documents import Documents, NewChunk, NewDocument
from assistant.store.records import title_path
from assistant.types import Labels
from benchmarks.cached import CachedEmbedder

LABELS = Labels(source="benchmark", principals=frozenset({"everyone"}))
CANDIDATES = 50


class Shelf:
    """Documents of one access class in a fresh database, and the search over them. Use it as a context."""

    def __init__(self, embedder: CachedEmbedder) -> None:
        self.embedder = embedder
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self._database = Database.open(f"sqlite:///{self.folder}/assistant.db")
        self._database.migrate()
        self.documents = Documents(self._database)
        self.search = Search(self.documents, embedder, self.folder / "indexes")

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self.search.save()
        self._database.close()
        self._temporary.cleanup()

    @property
    def permitted(self) -> frozenset[int]:
        """The ids of all access classes."""
        return frozenset(each.id for each in self.documents.classes())

    def put(self, uri: str, title: str, text: str, chunks: Sequence[NewChunk]) -> str:
        """Store a document as an ingest does, chunks embedded with their title path; return its id."""
        paths = [f"{title_path(title, chunk.headings)}\n{chunk.text}" for chunk in chunks]
        return self._put(uri, title, text, chunks, self.embedder.embed(paths))

    def put_whole(self, texts: dict[str, tuple[str, str]]) -> dict[str, str]:
        """Store documents, (title, text) by uri, as one chunk each; return the uri by id."""
        vectors = self.embedder.embed([f"{title}\n{text}" for title, text in texts.values()])
        return {
            self._put(
                uri, title, text, [NewChunk(ordinal=0, text=text, start=0, end=len(text))], vector[None]
            ): uri
            for (uri, (title, text)), vector in zip(texts.items(), vectors, strict=True)
        }

    def find(self, question: str, limit: int) -> Found:
        """Search as answers do."""
        return self.search.found(question, self.permitted, limit=limit, candidates=max(CANDIDATES, limit))

    def _put(self, uri: str, title: str, text: str, chunks: Sequence[NewChunk], vectors: np.ndarray) -> str:
        new = NewDocument(
            source=LABELS.source,
            uri=uri,
            title=title,
            media_type="text/plain",
            content_digest=hashlib.sha256(text.encode()).hexdigest(),
            fingerprint="1",
            size_bytes=len(text),
            labels=LABELS,
            text=text,
        )
        return self.documents.put(new, chunks, vectors, self.embedder.digest).id
