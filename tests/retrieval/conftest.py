import pytest

from assistant.store.database import Database
from assistant.store.documents import Documents, NewChunk, NewDocument
from assistant.testing.embedder import FakeEmbedder
from assistant.types import Labels


@pytest.fixture
def embedder():
    return FakeEmbedder()


@pytest.fixture
def documents(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path}/assistant.db")
    database.migrate()
    yield Documents(database)
    database.close()


@pytest.fixture
def put(documents, embedder):
    """Store a document, one chunk a line, readable by the given principals."""

    def put(uri, text, *, who="everyone", title=None, supersedes=None, source="files"):
        lines = [line for line in text.split("\n") if line]
        chunks, start = [], 0
        for ordinal, line in enumerate(lines):
            start = text.index(line, start)
            chunks.append(NewChunk(ordinal=ordinal, text=line, start=start, end=start + len(line)))
        new = NewDocument(
            source=source,
            uri=uri,
            title=title or uri,
            media_type="text/plain",
            content_digest=str(hash(text)),
            fingerprint="1",
            size_bytes=len(text),
            labels=Labels(source=source, principals=frozenset({who})),
            text=text,
            supersedes=supersedes,
        )
        vectors = embedder.embed([f"{new.title} {line}" for line in lines])
        return documents.put(new, chunks, vectors, embedder.digest)

    return put


@pytest.fixture
def all_classes(documents):
    """Return the ids of all classes there are now."""
    return lambda: frozenset(access_class.id for access_class in documents.classes())
