"""Opening, transactions, migrations."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from assistant.errors import StoreError
from assistant.store.database import SAFE_SQLITE, Database
from assistant.store.schema import api_keys, chunks, metadata, removals


@pytest.fixture
def database(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path}/deep/er/assistant.db")
    database.migrate()
    yield database
    database.close()


def test_migrations_give_exactly_the_metadata(database):
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_migrating_twice_changes_nothing(database):
    with database.write() as connection:
        connection.execute(insert(removals).values(chunk_id=1, change=1))
    database.migrate()
    with database.read() as connection:
        assert connection.execute(select(removals.c.chunk_id)).scalars().all() == [1]


def test_a_database_of_a_newer_version_is_refused(database):
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer version"):
        database.migrate()


def test_sqlite_is_set_up_to_lose_nothing(database):
    with database.read() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert values == ["wal", 2, 1, 30_000]
    assert tuple(int(part) for part in database.sqlite_version.split(".")) >= SAFE_SQLITE


def test_foreign_keys_hold(database):
    row = {"ordinal": 0, "text": "", "start": 0, "end": 0, "headings": "[]", "vector": b"", "change": 1}
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(insert(chunks).values(document_id="none", **row))


def test_an_error_rolls_everything_back(database):
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(insert(removals).values(chunk_id=1, change=1))
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(select(removals)).all() == []


def test_a_read_sees_one_snapshot(database):
    with database.read() as reading:
        before = reading.execute(select(removals)).all()
        with database.write() as writing:
            writing.execute(insert(removals).values(chunk_id=1, change=1))
        assert reading.execute(select(removals)).all() == before == []
    with database.read() as reading:
        assert len(reading.execute(select(removals)).all()) == 1


def test_writers_wait_for_each_other(database):
    def add(first):
        for number in range(first, first + 10):
            with database.write() as connection:
                latest = connection.execute(text("SELECT count(*) FROM removals")).scalar_one()
                connection.execute(insert(removals).values(chunk_id=number, change=latest + 1))

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        numbers = sorted(connection.execute(select(removals.c.change)).scalars())
    assert numbers == list(range(1, 31))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://u:secret@h/d", "not known"),
        ("sqlite://", "needs a file"),
        ("sqlite:////dev/null/x/a.db", "cannot be made"),
    ],
)
def test_a_wrong_url_says_what_to_do(url, words):
    with pytest.raises(StoreError, match=words) as caught:
        Database.open(url)
    assert caught.value.remedy
    assert "secret" not in str(caught.value)


def test_a_damaged_file_is_one_clear_error(tmp_path):
    (tmp_path / "a.db").write_bytes(b"this is no database" * 100)
    database = Database.open(f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(StoreError, match="cannot be used"):
        database.migrate()
    database.close()


def test_a_database_that_was_not_migrated_is_one_clear_error(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(StoreError, match="migrated"), database.read() as connection:
        connection.execute(select(api_keys))
    database.close()


def test_rows_of_a_plain_statement_are_what_is_committed(database):
    assert database.rows("SELECT number, classes FROM change_counter") == [(0, 0)]
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE change_counter SET number = 3")
        assert database.rows("SELECT number FROM change_counter") == [(0,)]
    assert database.rows("SELECT number FROM change_counter") == [(3,)]


def test_rows_of_a_database_that_cannot_be_used_are_a_store_error(database):
    with pytest.raises(StoreError, match="cannot be used"):
        database.rows("SELECT number FROM nowhere")
