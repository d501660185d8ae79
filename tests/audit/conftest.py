"""A log in a folder of its own, and how to tamper with it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from assistant.audit.entry import Body, Draft, PassageRecord, RouteRecord
from assistant.audit.log import AuditLog
from assistant.audit.verify import Verification, verify
from assistant.store.database import Database


def draft(number: int = 0, **given) -> Draft:
    """An entry like an answer's."""
    passage = PassageRecord(
        number=1,
        document_id="d1",
        source="docs",
        uri=f"hr/leave-{number}.md",
        content_digest="ab" * 32,
        chunk_id=number,
        start=0,
        end=10,
        score=0.5,
    )
    route = RouteRecord(department="hr", adapter=None, confidence=0.9, reason="sure")
    fields = {"kind": "answer.closed", "id": f"ans-{number}", "user": "ana", "status": "answered"}
    return Draft(**{**fields, "route": route, "passages": (passage,), **given})


def body(number: int = 0) -> Body:
    """Texts to seal."""
    return Body(salt="00" * 16, question=f"Question {number}?", answer=f"Answer {number}.")


@dataclass
class Place:
    """A database and an audit folder."""

    folder: Path
    url: str
    database: Database

    def log(self) -> AuditLog:
        return AuditLog(self.database, self.folder)

    def filled(self, count: int) -> AuditLog:
        log = self.log()
        for number in range(count):
            log.append(draft(number), body(number) if number % 2 == 0 else None)
        return log

    def verify(self) -> Verification:
        return verify(self.database, self.folder)

    def sql(self, statement: str, **values) -> None:
        with self.database.write() as connection:
            connection.execute(text(statement), values)

    def query(self, statement: str, **values):
        with self.database.read() as connection:
            return connection.execute(text(statement), values).all()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """An empty database with its tables, to copy."""
    file = tmp_path_factory.mktemp("migrated") / "assistant.db"
    database = Database.open(f"sqlite:///{file}")
    database.migrate()
    database.close()
    return file


@pytest.fixture(scope="module")
def new_place(tmp_path_factory, migrated):
    """Make places; they are closed at the end."""
    made: list[Place] = []

    def new() -> Place:
        folder = tmp_path_factory.mktemp("place")
        url = f"sqlite:///{folder}/db/assistant.db"
        database = Database.open(url)
        shutil.copy(migrated, folder / "db")
        made.append(Place(folder / "audit", url, database))
        return made[-1]

    yield new
    for place in made:
        place.database.close()


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    return new_place()


@pytest.fixture
def new_draft():
    return draft


@pytest.fixture
def new_body():
    return body
