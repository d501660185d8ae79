"""Access classes in SQL: one row for each set of labels that a living document has.

A class never changes and its number is never used again, so what was once decided about a class stays
true; a class that lost its last document goes in the same transaction. Writers hold the change counter
(`changes.take`), so that numbers appear in their order. It decides nothing about access.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete, exists, insert, select, update

from assistant.store.rows import CLASSES, to_access_class
from assistant.store.schema import access_classes, change_counter, documents
from assistant.types import AccessClass, Labels


def above(connection: Connection, number: int) -> tuple[AccessClass, ...]:
    """Return the classes numbered above `number`, in order."""
    query = CLASSES.where(access_classes.c.id > number).order_by(access_classes.c.id)
    return tuple(to_access_class(row) for row in connection.execute(query))


def numbered(connection: Connection, labels: Labels) -> int:
    """Return the number of the labels' class, made when it is new."""
    query = select(access_classes.c.id).where(access_classes.c.digest == labels.digest)
    known = connection.execute(query).scalar_one_or_none()
    if known is not None:
        return int(known)
    values = {
        "digest": labels.digest,
        "source": labels.source,
        "principals": json.dumps(sorted(labels.principals), ensure_ascii=False),
        "department": labels.department,
        "classification": labels.classification,
        "residency": labels.residency,
    }
    made = connection.execute(insert(access_classes).values(values).returning(access_classes.c.id))
    _count(connection)
    return int(made.scalar_one())


def of(connection: Connection, document_id: str) -> int | None:
    """Return the number of a document's class; None without such a document."""
    query = select(documents.c.class_id).where(documents.c.id == document_id)
    return connection.execute(query).scalar_one_or_none()


def drop_unused(connection: Connection, number: int | None) -> None:
    """Let go of a class that no document has any more."""
    used = exists().where(documents.c.class_id == number)
    if connection.execute(delete(access_classes).where(access_classes.c.id == number, ~used)).rowcount:
        _count(connection)


def ids(connection: Connection) -> frozenset[int]:
    """Return the numbers of all classes."""
    return frozenset(connection.execute(select(access_classes.c.id)).scalars())


def _count(connection: Connection) -> None:
    connection.execute(update(change_counter).values(classes=change_counter.c.classes + 1))
