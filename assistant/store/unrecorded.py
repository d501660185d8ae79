"""Removals that the audit log has yet to name, in SQL: noted where a document goes, let go of with its entry.

It owns that a removal and its entry cannot come apart: the note is written in the transaction that removes,
and taken away in the one that writes the entry, so that after a crash in between somebody still finds it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select

from assistant.store.database import Database
from assistant.store.schema import unrecorded
from assistant.types import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """A removal without an entry. `change` is its number, which no other one has."""

    change: int
    document_id: str
    source: str
    uri: str
    content_digest: str
    chunks: int
    removed_by: str

    @classmethod
    def of(cls, document: Document, *, change: int, chunks: int, by: str) -> Unrecorded:
        """Describe the removal of a document."""
        return cls(
            change=change,
            document_id=document.id,
            source=document.source,
            uri=document.uri,
            content_digest=document.content_digest,
            chunks=chunks,
            removed_by=by,
        )


def note(connection: Connection, removal: Unrecorded) -> None:
    """Note a removal in the transaction that removes."""
    connection.execute(insert(unrecorded), asdict(removal))


def settle(connection: Connection, change: int) -> bool:
    """Let go of a note in the transaction that writes the entry; False: another process has done so."""
    return bool(connection.execute(delete(unrecorded).where(unrecorded.c.change == change)).rowcount)


def left(database: Database) -> tuple[Unrecorded, ...]:
    """Return the removals that the log has yet to name, oldest first."""
    with database.read() as connection:
        rows = connection.execute(select(unrecorded).order_by(unrecorded.c.change)).mappings()
        return tuple(Unrecorded(**row) for row in rows)
