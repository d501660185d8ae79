"""Removing a document for good, and the receipt that says what went with it.

It owns the order: the database first, so that the very next question cannot see the document; then what
this process keeps of it; then the entry in the log. It refuses to promise what it cannot know: the indexes
of other processes are named by the change number they must pass, and until they do the database filters
what they find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assistant.adapters.registry import Registry
from assistant.audit.entry import Draft
from assistant.audit.log import AuditLog
from assistant.errors import AdapterError
from assistant.store.documents import Documents
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
        self, documents: Documents, log: AuditLog, adapters: Registry, *, indexes: Numbers, purge: Numbers
    ) -> None:
        """Put the parts together.

        Args:
            indexes: brings this process's indexes up to date, and returns change numbers by name.
            purge: empties this process's caches and returns how much each held.
        """
        self._documents, self._log, self._adapters = documents, log, adapters
        self._indexes, self._purge = indexes, purge

    def remove(self, document_id: str, *, by: str) -> Removal:
        """Remove a document and record it as `document.removed`.

        Args:
            by: who removes it, for the log.

        Raises:
            Unknown: no such document.
            AuditError: it is removed, but could not be recorded.
        """
        log, adapters = self._log, self._trained_on(document_id)
        removed = self._documents.remove(document_id)
        indexes, caches = self._indexes(), self._purge()
        document = removed.document
        receipt = log.append(
            Draft(
                kind="document.removed",
                id=document.id,
                user=by,
                attributes={
                    "gen_ai.data_source.id": document.source,
                    "assistant.document.uri": document.uri,
                    "assistant.document.chunks": removed.chunks,
                    "assistant.change": removed.number,
                    **{f"assistant.index.{name}": number for name, number in indexes.items()},
                    **{f"assistant.cache.{name}": number for name, number in caches.items()},
                    "assistant.adapters": " ".join(adapters),
                },
                digests={"content": document.content_digest},
            )
        )
        return Removal(
            document=document,
            chunks=removed.chunks,
            change=removed.number,
            indexes=indexes,
            caches=caches,
            adapters=adapters,
            receipt=receipt,
        )

    def _trained_on(self, document_id: str) -> tuple[str, ...]:
        """Name the versions whose examples name the document; a damaged manifest stops no removal."""
        found: list[str] = []
        for department in self._adapters.departments():
            try:
                versions = self._adapters.versions(department)
            except AdapterError:
                found.append(f"{department}@unreadable")
                continue
            found += [f"{department}@{each.short}" for each in versions if document_id in each.documents]
        return tuple(found)
