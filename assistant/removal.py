"""Removing a document for good, and the receipt that says what went with it.

It owns the order: the database first, so that the very next question cannot see the document; then what
this process keeps of it; then the entry in the log. Until that is written the database notes the removal,
so that whoever comes next after a crash writes it. It refuses to promise what it cannot know: the indexes
of other processes are named by the change number they must pass, and until they do the database filters
what they find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from assistant.adapters.registry import Registry
from assistant.audit.entry import Draft
from assistant.audit.log import AuditLog
from assistant.errors import AdapterError
from assistant.store import unrecorded
from assistant.store.database import Database
from assistant.store.documents import Documents
from assistant.store.unrecorded import Unrecorded
from assistant.types import Document, Receipt

Numbers = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A deletion receipt.

    `change` is the number of the removal: an index that has followed that far no longer holds the
    document. `indexes` are the numbers of those that this process has open, else of those on disk; `caches`
    how many kept computations it let go of, by cache. `adapters` are the versions (`department@digest`)
    whose training examples name the document: they should be trained anew.
    """

    document: Document
    chunks: int
    change: int
    indexes: Mapping[str, int]
    caches: Mapping[str, int]
    adapters: tuple[str, ...]
    receipt: Receipt


class Remover:
    """Removes documents of one workspace."""

    def __init__(
        self,
        database: Database,
        documents: Documents,
        log: AuditLog,
        adapters: Registry,
        *,
        indexes: Numbers,
        purge: Numbers,
    ) -> None:
        """Put the parts together.

        Args:
            database: the one that holds the documents and the log.
            indexes: brings this process's indexes up to date, and returns change numbers by name.
            purge: empties this process's caches and returns how much each held.
        """
        self._database, self._documents, self._log, self._adapters = database, documents, log, adapters
        self._indexes, self._purge = indexes, purge

    def remove(self, document_id: str, *, by: str) -> Removal:
        """Remove a document and record it as `document.removed`.

        Args:
            by: who removes it, for the log.

        Raises:
            Unknown: no such document.
            AuditError: it is removed, but could not be recorded; `settle` does so later.
        """
        removed = self._documents.remove(document_id, by=by)
        note = removed.note
        indexes, caches = self._indexes(), self._purge()
        adapters = self._trained_on(frozenset({document_id})).get(document_id, ())
        return Removal(
            document=removed.document,
            chunks=note.chunks,
            change=note.change,
            indexes=indexes,
            caches=caches,
            adapters=adapters,
            receipt=self._record(note, indexes, caches, adapters) or self._recorded(note),
        )

    def settle(self) -> int:
        """Record every removal that the log does not name yet; return how many there were.

        They are those of an ingest, and what a crash left.

        Raises:
            AuditError: one could not be recorded; it and those after it are recorded next time.
        """
        notes = unrecorded.left(self._database)
        if not notes:
            return 0
        indexes, caches = self._indexes(), self._purge()
        adapters = self._trained_on(frozenset(note.document_id for note in notes))
        written = [self._record(note, indexes, caches, adapters.get(note.document_id, ())) for note in notes]
        return sum(receipt is not None for receipt in written)

    def _record(
        self,
        note: Unrecorded,
        indexes: Mapping[str, int],
        caches: Mapping[str, int],
        adapters: tuple[str, ...],
    ) -> Receipt | None:
        """Write the entry of a removal; None where another process has done so."""
        draft = Draft(
            kind="document.removed",
            id=note.document_id,
            user=note.removed_by,
            attributes={
                "gen_ai.data_source.id": note.source,
                "assistant.document.uri": note.uri,
                "assistant.document.chunks": note.chunks,
                "assistant.change": note.change,
                **{f"assistant.index.{name}": number for name, number in indexes.items()},
                **{f"assistant.cache.{name}": number for name, number in caches.items()},
                "assistant.adapters": " ".join(adapters),
            },
            digests={"content": note.content_digest},
        )
        return self._log.append_once(draft, partial(unrecorded.settle, change=note.change))

    def _recorded(self, note: Unrecorded) -> Receipt:
        """Return the receipt of the entry that another process wrote."""
        entries = self._log.of(note.document_id)
        position = next(e.position for e in entries if e.attributes.get("assistant.change") == note.change)
        return self._log.proof(position)[0]

    def _trained_on(self, ids: frozenset[str]) -> dict[str, tuple[str, ...]]:
        """Name the versions whose examples name each document; a damaged manifest stops no removal."""
        found: dict[str, tuple[str, ...]] = {}
        for department in self._adapters.departments():
            try:
                trained = [
                    (f"{department}@{each.short}", ids.intersection(each.documents))
                    for each in self._adapters.versions(department)
                ]
            except AdapterError:
                trained = [(f"{department}@unreadable", ids)]
            for name, documents in trained:
                for id in documents:
                    found[id] = (*found.get(id, ()), name)
        return found
