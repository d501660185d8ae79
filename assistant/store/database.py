"""One connection pool to the database, SQLite by default, PostgreSQL by URL.

It owns how connections are opened, how transactions begin and end, and the migrations. A read sees
one snapshot from its first statement to its last; a write on SQLite takes the write lock at once, so
that two writers wait for each other instead of failing half-way. It refuses to hold queries.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from assistant.errors import StoreError

SAFE_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL database that two connections write
BUSY_TIMEOUT_S = 30
_MIGRATION_LOCK = 7_305_811


class Database:
    """A pool of connections. Use `read()` and `write()` as context managers."""

    def __init__(self, engine: Engine, sqlite_version: str | None) -> None:
        self._engine = engine
        self._sqlite_version = sqlite_version

    @classmethod
    def open(cls, url: str) -> Database:
        """Open `sqlite:///FILE` (its folder is made) or a `postgresql://` URL.

        Raises:
            StoreError: a bad URL, a missing driver, or a folder that cannot be made.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise StoreError("The database URL cannot be read.", remedy=_URL_REMEDY) from None
        if parsed.get_backend_name() == "sqlite":
            return cls._open_sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            return cls._open_postgresql(parsed)
        raise StoreError(f"Databases of kind {parsed.drivername} are not known.", remedy=_URL_REMEDY)

    @classmethod
    def _open_sqlite(cls, url: URL) -> Database:
        if not url.database or url.database == ":memory:":
            raise StoreError("A SQLite database needs a file.", remedy=_URL_REMEDY)
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {folder} of the database cannot be made: {error.strerror}.",
                remedy="Correct `database` in assistant.yaml or the folder's permissions.",
            ) from error
        module = _sqlite_module()
        engine = create_engine(url, module=module, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return cls(engine, str(module.sqlite_version))

    @classmethod
    def _open_postgresql(cls, url: URL) -> Database:
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        try:
            engine = create_engine(url, isolation_level="REPEATABLE READ", pool_pre_ping=True)
        except (ImportError, NoSuchModuleError) as error:
            raise StoreError(
                f"The driver of {url.drivername} is not installed.",
                remedy="Run `pip install 'hybrid-assistant[postgresql]'`.",
            ) from error
        return cls(engine, None)

    @property
    def sqlite_version(self) -> str | None:
        """Version of SQLite in use; None on PostgreSQL."""
        return self._sqlite_version

    @property
    def dialect(self) -> Dialect:
        """How statements are written for it."""
        return self._engine.dialect

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one snapshot; nothing written through it stays.

        Raises:
            StoreError: the database cannot be reached or read.
        """
        with self._errors(), self._engine.connect() as connection:
            yield connection

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement as the driver gives them: a snapshot of its own.

        For what every search asks, at a tenth of what `read` costs beside so short an answer.

        Raises:
            StoreError: as `read`.
        """
        with self._errors():
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(statement)
                return [tuple(row) for row in cursor.fetchall()]
            finally:
                connection.close()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in one write transaction: committed at the end, rolled back on an error.

        Raises:
            StoreError: the database cannot be reached, is locked for too long, or refuses to write.
        """
        with self._errors(), self._engine.connect() as connection:
            if self._sqlite_version is None:
                connection = connection.execution_options(isolation_level="READ COMMITTED")
            else:
                connection = connection.execution_options(immediate=True)
            with connection.begin():
                yield connection

    def migrate(self) -> None:
        """Bring the schema to this version's; does nothing when it is there already.

        Raises:
            StoreError: the database was made by a newer version, or a step failed.
        """
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        with self.write() as connection:
            if self._sqlite_version is None:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StoreError(
                    f"The database cannot be migrated: {error}.",
                    remedy="It may be of a newer version of this program: upgrade it, or restore a backup.",
                ) from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn a database that cannot be used into a StoreError; let our own mistakes through."""
        try:
            yield
        except (DatabaseError, self._driver.DatabaseError) as error:
            unusable = (OperationalError, self._driver.OperationalError)
            if not isinstance(error, unusable) and type(error) not in (
                DatabaseError,
                self._driver.DatabaseError,
            ):
                raise
            where = self._engine.url.render_as_string(hide_password=True)
            cause = error.orig if isinstance(error, DatabaseError) else error
            raise StoreError(
                f"The database {where} cannot be used: {cause}.",
                remedy="Check that it is reachable, not damaged, on a disk with room, and was migrated.",
            ) from error

    @property
    def _driver(self) -> Any:  # noqa: ANN401 - one module for each driver
        return self._engine.dialect.loaded_dbapi


_URL_REMEDY = "Set `database` to sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."


def _sqlite_module() -> ModuleType:
    """Return the interpreter's sqlite3, or pysqlite3 where that one is too old and it is installed."""
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        return sqlite3
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        return sqlite3
    return dbapi2 if isinstance(dbapi2, ModuleType) else sqlite3


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, never behind our back
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
