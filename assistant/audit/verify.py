"""Verify the log from outside: database against signed head and leaf hashes, entry by entry.

It trusts the public key and the signed head only, opens everything read-only, repairs nothing and
names the place of every contradiction.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, func, select, type_coerce
from sqlalchemy.types import NullType

from assistant.audit.checkpoint import TreeHead, open_checkpoint, read_verifier_key
from assistant.audit.entry import Entry
from assistant.audit.heads import HASH_BYTES
from assistant.audit.merkle import EMPTY_ROOT, Frontier, leaf_hash, root
from assistant.audit.seal import Sealed
from assistant.errors import AuditError
from assistant.store.database import Database
from assistant.store.schema import log_bodies, log_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One contradiction. `position` is the entry it stands at, None for the log as a whole."""

    position: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.position is None else f"entry {self.position}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result: the log holds if there are no problems."""

    entries: int
    head_size: int
    root_hash: str
    problems: tuple[Problem, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was altered, removed, moved or added unsigned."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _Anchor:
    """What stands outside the database: the signed head, None if it cannot be trusted, and leaf hashes."""

    head: TreeHead | None
    leaves: tuple[bytes, ...] = ()
    problems: tuple[Problem, ...] = ()


def verify(database: Database, folder: Path) -> Verification:
    """Check every entry of the log and the whole against its signed head.

    It may run while the log is written: it looks at the state between two appends.

    Args:
        folder: the audit folder with `signing.pub`, `head` and `leaves`.
    """
    with database.read() as connection:
        with _quiet(folder):
            last = connection.execute(select(func.max(log_entries.c.position))).scalar()
            anchor = _anchor(folder, 0 if last is None else last + 1)
        problems, tree, count = _walk(connection, anchor)
        problems += [
            Problem(position=row.position, what="a sealed body without its entry")
            for row in connection.execute(_orphans())
        ]
    problems += _whole(tree, anchor.head, located=bool(problems))
    return Verification(
        entries=count,
        head_size=anchor.head.size if anchor.head else -1,
        root_hash=anchor.head.root.hex() if anchor.head else "",
        problems=(*problems, *anchor.problems),
    )


def _walk(connection: Connection, anchor: _Anchor) -> tuple[list[Problem], Frontier, int]:
    """Compare every stored entry with itself, its body and its anchored leaf hash."""
    problems: list[Problem] = []
    tree = Frontier()
    count, expected = 0, 0
    blobs = (log_entries.c.leaf_hash, log_entries.c.entry, log_bodies.c.sealed)
    query = (
        select(
            *(log_entries.c[name] for name in ("position", "answer_id", "kind", "recorded_at", "user_id")),
            *(type_coerce(column, NullType()).label(column.name) for column in blobs),
            log_bodies.c.key_id,
        )
        .outerjoin(log_bodies, log_bodies.c.position == log_entries.c.position)
        .order_by(log_entries.c.position)
    )
    for row in connection.execute(query.execution_options(yield_per=500)):
        leaf = leaf_hash(_bytes(row.entry))
        tree.append(leaf)
        if row.position != expected:
            problems += _gap(expected, row.position)
        anchored = anchor.leaves[row.position] if 0 <= row.position < len(anchor.leaves) else None
        problems += _problems(row, leaf, anchored)
        count, expected = count + 1, row.position + 1
    if anchor.head and expected < anchor.head.size:
        what = f"missing from here on: the signed head covers {anchor.head.size} entries"
        problems.append(Problem(position=expected, what=what))
    elif anchor.head and expected > anchor.head.size:
        what = "from here on entries are not covered by the signed head"
        problems.append(Problem(position=anchor.head.size, what=what))
    return problems, tree, count


def _gap(expected: int, found: int) -> Iterator[Problem]:
    if found < expected:
        yield Problem(position=found, what="no entry can have this number")
    elif found == expected + 1:
        yield Problem(position=expected, what="missing")
    else:
        yield Problem(position=expected, what=f"missing, as are all before entry {found}")


def _problems(row: Row[*tuple[Any, ...]], leaf: bytes, anchored: bytes | None) -> Iterator[Problem]:
    """Yield what contradicts itself in one stored entry."""
    at = row.position
    if leaf != _bytes(row.leaf_hash):
        yield Problem(position=at, what="its bytes do not hash to the leaf hash stored with it")
    if anchored is not None and leaf != anchored:
        yield Problem(position=at, what="it is not the entry that was signed at this place")
    try:
        entry = Entry.model_validate_json(_bytes(row.entry))
    except ValidationError as error:
        yield Problem(position=at, what=f"not a readable entry ({error.error_count()} errors)")
        return
    if entry.position != at:
        yield Problem(position=at, what=f"holds the entry that was written as number {entry.position}")
    columns = (row.answer_id, row.kind, row.recorded_at, row.user_id)
    if columns != (entry.id, entry.kind, entry.recorded_at, entry.user):
        yield Problem(position=at, what="its searchable columns differ from the entry")
    recorded = entry.digests.get("body")
    if row.sealed is None:
        if recorded:
            yield Problem(position=at, what="its sealed body is missing")
    elif Sealed(key_id=str(row.key_id), data=_bytes(row.sealed)).digest != recorded:
        yield Problem(position=at, what="its sealed body was altered")


def _bytes(stored: object) -> bytes:
    """Return a blob as stored; SQLite lets anything stand in a column."""
    if isinstance(stored, bytes | bytearray | memoryview):
        return bytes(stored)
    return repr(stored).encode()


def _whole(tree: Frontier, head: TreeHead | None, *, located: bool) -> Iterator[Problem]:
    """Yield that the log was rewritten, where no entry could be blamed."""
    if head and not located and (tree.size, tree.root()) != (head.size, head.root):
        yield Problem(position=None, what="the entries do not hash to the signed head: they were rewritten")


def _anchor(folder: Path, stored: int) -> _Anchor:
    """Read what stands beside the database. An append cut short after its commit counts as signed.

    Args:
        stored: number of entries in the database.
    """
    try:
        head, announced = _signed_heads(folder)
    except AuditError as error:
        return _Anchor(head=None, problems=(Problem(position=None, what=error.message),))
    if announced and announced.size != head.size + 1:
        announced = None
    file = folder / "leaves"
    data = file.read_bytes() if file.exists() else b""
    whole = len(data) - len(data) % HASH_BYTES
    leaves = tuple(data[at : at + HASH_BYTES] for at in range(0, whole, HASH_BYTES))
    spare = HASH_BYTES if announced else 0
    if announced and stored == announced.size and root(leaves) == announced.root:
        return _Anchor(head=announced, leaves=leaves)
    if root(leaves[: head.size]) != head.root:
        what = "the leaf hashes kept beside the signed head do not hash to it"
        return _Anchor(head=head, problems=(Problem(position=None, what=what),))
    if len(data) > head.size * HASH_BYTES + spare:
        what = f"the leaf hashes beside the signed head go on after its {head.size}: it is not the last"
        problem = Problem(position=head.size, what=what)
        return _Anchor(head=head, leaves=leaves[: head.size], problems=(problem,))
    return _Anchor(head=head, leaves=leaves[: head.size])


def _signed_heads(folder: Path) -> tuple[TreeHead, TreeHead | None]:
    """Return the confirmed head, an empty tree before the first entry, and an announced one."""
    public_file, head_file, next_file = (folder / name for name in ("signing.pub", "head", "head.next"))
    if not public_file.exists():
        if any((folder / name).exists() for name in ("head", "head.next", "signing.key")):
            raise AuditError(f"{public_file} is missing: the signed head cannot be checked.")
        return TreeHead(origin="", size=0, root=EMPTY_ROOT), None
    origin, public = read_verifier_key(public_file.read_text(encoding="utf-8", errors="replace"))
    found = [
        open_checkpoint(file.read_text(encoding="utf-8", errors="replace"), public, origin)
        if file.exists()
        else None
        for file in (head_file, next_file)
    ]
    return found[0] or TreeHead(origin=origin, size=0, root=EMPTY_ROOT), found[1]


def _orphans() -> Select[tuple[int]]:
    return (
        select(log_bodies.c.position)
        .where(log_bodies.c.position.not_in(select(log_entries.c.position)))
        .order_by(log_bodies.c.position)
    )


@contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Wait for an append under way to end, so that files and database are of one moment."""
    try:
        handle = (folder / "lock").open("rb")
    except OSError:  # a copy of the folder, or none yet: nobody appends to it
        yield
        return
    with handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
