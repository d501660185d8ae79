"""What was read, brought into the store: one transaction for each document, and a count of how it ended.

It owns the order of writes. What stood inside a file is stored before the file's own document, whose
digest says that all of it is there: after a crash in between, the file is read again. It reads nothing
from a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assistant.extraction.decode import spoken
from assistant.ingesting.plan import Known, Making, Step
from assistant.ingesting.reading import Piece, Read
from assistant.ingesting.summary import Outcome, Tally
from assistant.store.documents import Documents
from assistant.store.records import Stored, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Writes into one store, and counts."""

    documents: Documents
    making: Making
    tally: Tally

    def relabel(self, step: Step) -> None:
        """Give what is stored of an item its labels, so that tighter access holds before anything is read."""
        for stored in step.old.all:
            if stored.labels_digest != step.item.labels.digest:
                self.documents.relabel(stored.id, step.item.labels)

    def settle(self, step: Step) -> Outcome:
        """Count an item whose content is the one that is stored."""
        outcome: Outcome = "relabelled" if step.relabelled else "unchanged"
        self.tally.count(outcome, len(step.old.all))
        return outcome

    def write(self, read: Read, vectors: Sequence[Vectors]) -> Outcome:
        """Store what was read of an item; `vectors` are one array a piece."""
        step, file = read.step, read.step.old.file
        for uri, reason in read.refused:
            self.tally.refuse(uri, reason)
        self.tally.notice(step.item.uri, read.notices)
        if read.reason:
            self.tally.refuse(step.item.uri, read.reason)
            return self.remove(step.old) if read.vanished and step.old.all else "refused"
        if read.moved:
            return self._rename(read.moved, step)
        if not read.pieces and file:
            for stored in step.old.all:
                self.documents.touch(stored.id, step.item.fingerprint)
            return self.settle(step)
        return self._store(read, vectors)

    def remove(self, known: Known) -> Outcome:
        """Remove a file that is gone, and what stood inside it."""
        for stored in known.all:
            self.documents.remove(stored.id)
        self.tally.count("removed", len(known.all))
        return "removed"

    def _store(self, read: Read, vectors: Sequence[Vectors]) -> Outcome:
        step = read.step
        before = {stored.uri: stored for stored in step.old.all}
        inside = {piece.document.uri for piece in read.pieces}
        for stored in step.old.members:
            if stored.uri not in inside:
                self.documents.remove(stored.id)
                self.tally.count("removed")
        for piece, rows in zip(read.pieces, vectors, strict=True):
            outcome = self._put(piece, rows, before.get(piece.document.uri))
        return outcome

    def _put(self, piece: Piece, rows: Vectors, old: Stored | None) -> Outcome:
        self.documents.put(piece.document, piece.chunks, rows, self.making.embedder)
        outcome: Outcome = "changed" if old else "added"
        self.tally.count(outcome)
        self.tally.chunks += len(piece.chunks)
        return outcome

    def _rename(self, known: Known, step: Step) -> Outcome:
        """Move a file's documents to where it stands now; a title that came of the old name follows."""
        assert known.file is not None
        for stored in known.all:
            uri = step.item.uri + stored.uri.removeprefix(known.file.uri)
            found = self.documents.get(stored.id)
            title = found.title if found else ""
            if stored is known.file and title == spoken(stored.uri):
                title = spoken(uri)
            if stored is known.file and step.item.title:
                title = step.item.title
            self.documents.rename(
                stored.id, uri, fingerprint=step.item.fingerprint, labels=step.item.labels, title=title
            )
        self.tally.count("renamed", len(known.all))
        self.tally.total -= 1  # what was thought to be two files is one
        return "renamed"
