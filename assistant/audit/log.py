"""The append-only log: an entry is durable, and covered by a signed head, when `append` returns.

It owns the order of an append (announce the head, commit the entry, confirm the head) and reading
back; it refuses to change or remove anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Connection, select

from assistant.audit.entry import MAX_BYTES, Body, Draft, Entry
from assistant.audit.heads import Heads
from assistant.audit.merkle import Frontier, inclusion_proof, leaf_hash
from assistant.audit.rows import write
from assistant.audit.seal import Sealed, Vault
from assistant.errors import AuditError, Unknown
from assistant.store.database import Database
from assistant.store.schema import log_bodies, log_entries
from assistant.types import Receipt


class AuditLog:
    """The log of one workspace. Threads share it; processes of one machine share its files."""

    def __init__(self, database: Database, folder: Path, *, origin: str = "assistant") -> None:
        """Open the log, check it against its signed head and repair what a crash left.

        Raises:
            AuditError: it is not what was signed, or its signing key is lost.
        """
        self._database = database
        self._heads = Heads(folder, origin, fresh=self._last() is None)
        self.vault = Vault(folder / "people")
        self._thread = threading.Lock()
        self._tree = Frontier()
        self._leaf: bytes | None = None
        with self._exclusive("The log", catch_up=False):
            self._open()

    def append(self, draft: Draft, body: Body | None = None) -> Receipt:
        """Write one entry, and its sealed body, durably.

        Raises:
            AuditError: it cannot be written, or the log is not what was signed. No entry, no answer.
        """
        with self._exclusive(f"Entry {draft.id}"):
            receipt = self._append(draft, body)
        assert receipt is not None, "nothing was to be claimed"
        return receipt

    def append_once(self, draft: Draft, claim: Callable[[Connection], bool]) -> Receipt | None:
        """Write one entry together with what makes sure that it is written once, in one transaction.

        Args:
            claim: called in the transaction that writes the entry; where it returns False, as another
                process was first, neither is written and there is no receipt.

        Raises:
            AuditError: as `append`; what was to be claimed can then be claimed later.
        """
        with self._exclusive(f"Entry {draft.id}"):
            return self._append(draft, None, claim)

    @contextmanager
    def _exclusive(self, what: str, *, catch_up: bool = True) -> Iterator[None]:
        """Hold the log, up to date; whatever goes wrong inside is an AuditError."""
        try:
            with self._thread, self._heads.locked():
                if catch_up:
                    self._catch_up()
                yield
        except AuditError:
            raise
        except Exception as error:
            raise AuditError(
                f"{what} could not be written: {type(error).__name__}: {error}.",
                remedy="Check the disk and the permissions of the audit folder and the database.",
            ) from error

    def _append(
        self, draft: Draft, body: Body | None, claim: Callable[[Connection], bool] | None = None
    ) -> Receipt | None:
        assert "body" not in draft.digests, "the log itself records the digest of a sealed body"
        position = self._tree.size
        sealed = self._seal(draft, body, position)
        if sealed is not None:
            draft = draft.model_copy(update={"digests": {**draft.digests, "body": sealed.digest}})
        entry = Entry(
            **{name: getattr(draft, name) for name in Draft.model_fields},
            position=position,
            recorded_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        data = entry.canonical()
        if len(data) > MAX_BYTES:
            raise AuditError(
                f"Entry {entry.id} has {len(data):,} bytes; {MAX_BYTES:,} are allowed.",
                remedy="Fewer passages or shorter identifiers make it smaller.",
            )
        return self._commit(entry, data, sealed, claim)

    def _commit(
        self,
        entry: Entry,
        data: bytes,
        sealed: Sealed | None,
        claim: Callable[[Connection], bool] | None,
    ) -> Receipt | None:
        leaf = leaf_hash(data)
        tree = self._tree.copy()
        tree.append(leaf)
        with self._database.write() as connection:
            if claim is not None and not claim(connection):
                return None
            write(connection, entry, data, leaf, sealed)
            head = self._heads.announce(tree, leaf)
        self._heads.confirm()
        self._tree, self._leaf = tree, leaf
        return Receipt(
            id=entry.id,
            index=entry.position,
            leaf_hash=leaf.hex(),
            tree_size=head.size,
            root_hash=head.root.hex(),
            recorded_at=entry.recorded_at,
        )

    def entries(
        self, *, limit: int = 50, before: int | None = None, user: str | None = None
    ) -> tuple[Entry, ...]:
        """Latest entries first."""
        query = select(log_entries.c.entry).order_by(log_entries.c.position.desc()).limit(limit)
        if before is not None:
            query = query.where(log_entries.c.position < before)
        if user is not None:
            query = query.where(log_entries.c.user_id == user)
        with self._database.read() as connection:
            return tuple(_entry(row.entry) for row in connection.execute(query))

    def of(self, answer_id: str) -> tuple[Entry, ...]:
        """All entries of one answer or subject, oldest first.

        Raises:
            Unknown: none.
        """
        query = select(log_entries.c.entry).where(log_entries.c.answer_id == answer_id)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(log_entries.c.position)).all()
        if not rows:
            raise Unknown(f"No entry {answer_id}.", remedy="`assistant audit list` shows what there is.")
        return tuple(_entry(row.entry) for row in rows)

    def body(self, entry: Entry) -> Body | None:
        """Open the sealed body of an entry; None if it has none.

        Raises:
            AuditError: erased or altered.
        """
        query = select(log_bodies).where(log_bodies.c.position == entry.position)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        sealed = Sealed(key_id=row.key_id, data=bytes(row.sealed))
        plain = self.vault.open(sealed, bound_to=_binding(entry.position, entry.id))
        return Body.model_validate_json(plain)

    def proof(self, position: int) -> tuple[Receipt, list[bytes]]:
        """Return a receipt against the signed head and the inclusion proof that leads to its root.

        Raises:
            Unknown: no such entry.
            AuditError: the entries are not what was signed.
        """
        head = self._heads.head()
        if not 0 <= position < head.size:
            raise Unknown(f"No entry at position {position}.", remedy="`assistant audit list` shows them.")
        with self._database.read() as connection:
            rows = connection.execute(select(log_entries.c.leaf_hash).order_by(log_entries.c.position))
            leaves = [bytes(row.leaf_hash) for row in rows.fetchmany(head.size)]
            row = connection.execute(select(log_entries).where(log_entries.c.position == position)).first()
        if Frontier(leaves).root() != head.root or row is None or leaf_hash(row.entry) != leaves[position]:
            raise AuditError(f"Entry {position} is not what was signed.", remedy=_VERIFY)
        receipt = Receipt(
            id=row.answer_id,
            index=position,
            leaf_hash=leaves[position].hex(),
            tree_size=head.size,
            root_hash=head.root.hex(),
            recorded_at=row.recorded_at,
        )
        return receipt, inclusion_proof(leaves, position)

    def checkpoint(self) -> str:
        """Return the signed tree head, to be kept where the operator cannot rewrite it."""
        return self._heads.checkpoint()

    def close_interrupted(self, older_than: timedelta) -> int:
        """Close answers that were opened and never closed, as a killed process leaves them."""
        closed = select(log_entries.c.answer_id).where(log_entries.c.kind == "answer.closed")
        limit = (datetime.now(UTC) - older_than).isoformat(timespec="milliseconds")
        query = (
            select(log_entries.c.entry)
            .where(log_entries.c.kind == "question.opened", log_entries.c.recorded_at <= limit)
            .where(log_entries.c.answer_id.not_in(closed))
            .order_by(log_entries.c.position)
        )
        with self._exclusive("The closing of interrupted answers"):
            with self._database.read() as connection:
                opened = [_entry(row.entry) for row in connection.execute(query)]
            for entry in opened:
                self._append(_interrupted(entry), None)
        return len(opened)

    def _seal(self, draft: Draft, body: Body | None, position: int) -> Sealed | None:
        if body is None:
            return None
        plain = body.model_dump_json().encode()
        return self.vault.seal(draft.user, plain, bound_to=_binding(position, draft.id))

    def _catch_up(self) -> None:
        """Follow what other processes appended since; fail closed if the log is not what was signed."""
        last = self._last()
        stored = (last[0] + 1, last[1]) if last else (0, None)
        head = self._heads.head()
        if stored == (self._tree.size, self._leaf) and (head.size, head.root) == (
            self._tree.size,
            self._tree.root(),
        ):
            return
        if stored[0] <= self._tree.size:
            self._open()
            return
        leaves = self._checked_leaves(self._tree.size)
        tree = self._tree.copy()
        for leaf in leaves:
            tree.append(leaf)
        self._heads.settle(tree)
        self._tree, self._leaf = tree, leaves[-1]

    def _open(self) -> None:
        """Read the whole log and check it against the signed head and the leaf hashes beside it."""
        leaves = self._checked_leaves(0)
        tree = Frontier(leaves)
        self._heads.settle(tree)
        self._heads.check_leaves(leaves)
        self._tree, self._leaf = tree, leaves[-1] if leaves else None

    def _checked_leaves(self, start: int) -> list[bytes]:
        """Hash the entries from position `start` on; they must hash to what is stored with them."""
        leaves: list[bytes] = []
        query = select(log_entries.c.position, log_entries.c.leaf_hash, log_entries.c.entry)
        query = query.where(log_entries.c.position >= start).order_by(log_entries.c.position)
        with self._database.read() as connection:
            for row in connection.execute(query.execution_options(yield_per=1000)):
                leaf = leaf_hash(row.entry) if isinstance(row.entry, bytes) else b""
                if row.position != start + len(leaves) or row.leaf_hash != leaf:
                    raise AuditError(f"The log was altered at entry {start + len(leaves)}.", remedy=_VERIFY)
                leaves.append(leaf)
        return leaves

    def _last(self) -> tuple[int, bytes] | None:
        query = select(log_entries.c.position, log_entries.c.leaf_hash)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(log_entries.c.position.desc()).limit(1)).first()
        return (row.position, bytes(row.leaf_hash)) if row else None


_VERIFY = "Nothing is answered until this is understood: run `assistant audit verify`."


def _entry(data: bytes) -> Entry:
    try:
        return Entry.model_validate_json(data)
    except ValidationError as error:
        raise AuditError("An entry of the log cannot be read.", remedy=_VERIFY) from error


def _interrupted(opened: Entry) -> Draft:
    return Draft(
        kind="answer.closed",
        id=opened.id,
        user=opened.user,
        status="interrupted",
        route=opened.route,
        passages=opened.passages,
    )


def _binding(position: int, id: str) -> bytes:
    return f"{position}:{id}".encode()
