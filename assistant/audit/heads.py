"""The log's anchor outside the database: the signed head and the list of leaf hashes.

It owns the files `head`, `head.next`, `leaves` and `lock` of the audit folder and the order in which
they change, so that a crash at any moment is told from tampering. It never reads an entry.

An append makes, each step durable before the next: `head.next` (the head to be), the leaf's hash at the
end of `leaves`, the entry in the database, and `head` by renaming `head.next`. So `leaves` is longer
than `head` says only while a `head.next` stands beside it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from assistant.audit.checkpoint import Signer, TreeHead
from assistant.audit.merkle import EMPTY_ROOT, Frontier
from assistant.durable import sync_folder, write_durably
from assistant.errors import AuditError

HASH_BYTES = 32


class Heads:
    """Announce a head, let the database commit, then confirm it; `settle` repairs after a crash."""

    def __init__(self, folder: Path, origin: str, *, fresh: bool) -> None:
        """Open the folder.

        Args:
            fresh: whether the log is empty; only then may a signing key be made.

        Raises:
            AuditError: the folder cannot be made, or the key is lost or damaged.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AuditError(
                f"The audit folder {folder} cannot be made: {error.strerror}.",
                remedy="Correct `audit.folder` in assistant.yaml, or what stands in its place.",
            ) from error
        self.folder = folder
        self._head, self._next = folder / "head", folder / "head.next"
        self._leaves = folder / "leaves"
        with self.locked():
            self.signer = self._signer(folder / "signing.key", origin, fresh)

    def _signer(self, file: Path, origin: str, fresh: bool) -> Signer:
        if file.exists():
            return Signer.load(file, origin)
        if not fresh or any(x.exists() for x in (self._head, self._leaves, file.with_suffix(".pub"))):
            raise AuditError(
                f"{file} is missing, and the log is not new.",
                remedy="Restore the audit folder from its backup; a new key cannot continue the log.",
            )
        return Signer.create(file, origin)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the log for one append; other processes of this machine wait."""
        with (self.folder / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def head(self) -> TreeHead:
        """Return the confirmed head; an empty tree before the first entry.

        Raises:
            AuditError: the file was altered.
        """
        return self._read(self._head) or TreeHead(origin=self.signer.origin, size=0, root=EMPTY_ROOT)

    def checkpoint(self) -> str:
        """Return the signed text of the confirmed head, empty before the first entry."""
        return self._head.read_text(encoding="utf-8") if self._head.exists() else ""

    def announce(self, tree: Frontier, leaf: bytes) -> TreeHead:
        """Make the head of the tree with `leaf` durable, before the database commits."""
        head = TreeHead(origin=self.signer.origin, size=tree.size, root=tree.root())
        self._shorten(tree.size - 1)
        write_durably(self._next, self.signer.sign(head).encode())
        with self._leaves.open("ab") as handle:
            handle.write(leaf)
            handle.flush()
            os.fsync(handle.fileno())
        return head

    def confirm(self) -> None:
        """Make the announced head the head, after the database has committed.

        The rename need not be durable yet: `head.next` is, and `settle` completes it after a crash.
        """
        self._next.replace(self._head)

    def settle(self, tree: Frontier) -> None:
        """Bring the files in step with the tree of the committed entries after a crash.

        Raises:
            AuditError: the database does not hold what was signed.
        """
        announced = self._read(self._next)
        if announced and (announced.size, announced.root) == (tree.size, tree.root()):
            self.confirm()
            announced = None
        head = self.head()
        if (head.size, head.root) != (tree.size, tree.root()):
            raise AuditError(
                f"The log holds {tree.size} entries, its signed head covers {head.size}, or hashes differ.",
                remedy="Nothing is answered until this is understood: run `assistant audit verify`.",
            )
        if announced:
            self._shorten(tree.size)
            self._next.unlink()

    def check_leaves(self, stored: Sequence[bytes]) -> None:
        """Compare the leaf hashes beside the head, in step with it, with those of a settled log.

        Raises:
            AuditError: they differ.
        """
        wanted = b"".join(stored)
        if not self._leaves.exists():
            write_durably(self._leaves, wanted)
        if self._leaves.read_bytes() != wanted:
            raise AuditError(
                f"{self._leaves} was altered: it does not hold the log's leaf hashes.",
                remedy="Run `assistant audit verify`; when it blames nothing else, delete the file: "
                "it is made anew from entries that hash to the signed head.",
            )

    def _shorten(self, size: int) -> None:
        """Cut off leaf hashes that were announced and never committed."""
        if not self._leaves.exists():
            self._leaves.touch()
            sync_folder(self.folder)
        found = self._leaves.stat().st_size
        if found < size * HASH_BYTES:
            raise AuditError(f"{self._leaves} was cut: it holds less than the signed head covers.")
        if found > size * HASH_BYTES:
            os.truncate(self._leaves, size * HASH_BYTES)

    def _read(self, file: Path) -> TreeHead | None:
        if not file.exists():
            return None
        try:
            return self.signer.open(file.read_text(encoding="utf-8", errors="replace"))
        except AuditError as error:
            raise AuditError(f"{file}: {error.message}", remedy=error.remedy) from error
