"""How an entry and its sealed body stand in SQL. It opens no transaction and knows no order."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from assistant.audit.entry import Entry
from assistant.audit.seal import Sealed
from assistant.store.schema import log_bodies, log_entries


def write(connection: Connection, entry: Entry, data: bytes, leaf: bytes, sealed: Sealed | None) -> None:
    """Insert an entry, whose canonical bytes are `data`, and its sealed body."""
    connection.execute(
        insert(log_entries).values(
            position=entry.position,
            answer_id=entry.id,
            kind=entry.kind,
            recorded_at=entry.recorded_at,
            user_id=entry.user,
            leaf_hash=leaf,
            entry=data,
        )
    )
    if sealed is not None:
        values = {"position": entry.position, "key_id": sealed.key_id, "sealed": sealed.data}
        connection.execute(insert(log_bodies).values(values))
