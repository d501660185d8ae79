"""From an item of a source to pieces that can be embedded: fetch, tell whether it changed, extract, chunk.

It runs in several threads at once, writes nothing, and turns whatever is wrong with one item into a
reason. It refuses to hold the bytes of a file longer than it takes to extract them.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from assistant.connectors.base import Connector, Item
from assistant.errors import IngestError
from assistant.extraction.extracted import Extracted
from assistant.ingesting.plan import MEMBER, Known, Plan, Step
from assistant.retrieval.chunk import chunk, shortened
from assistant.store.records import NewChunk, NewDocument, title_path

_BYTES_PER_CHARACTER = 4  # the text, its chunks, and what is embedded of it, all of them kept together


class Extracts(Protocol):
    """What takes a file apart: `assistant.extraction.extract.Extractor`."""

    def extract(self, data: bytes, uri: str) -> Extracted:
        """Return the text and structure of a file, or raise IngestError; safe in several threads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A document ready to be embedded: one text a chunk, with the words that place it."""

    document: NewDocument
    chunks: tuple[NewChunk, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What became of one item.

    Exactly one holds: `pieces` to store, what stood inside a file first and its own document last; a file
    it was `moved` from; neither, for content that did not change; or a `reason` why it could not be read,
    where `vanished` means that it is no longer there.
    """

    step: Step
    pieces: tuple[Piece, ...] = ()
    moved: Known | None = None
    reason: str = ""
    vanished: bool = False
    refused: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def texts(self) -> Iterator[str]:
        """Everything that is to be embedded, in order."""
        return (text for piece in self.pieces for text in piece.texts)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return sum(len(piece.document.text) for piece in self.pieces) * _BYTES_PER_CHARACTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads items of one source; `longest` is how many tokens the embedder takes, as `count` counts."""

    connector: Connector
    extractor: Extracts
    plan: Plan
    chunk_tokens: int
    count: Callable[[str], int]
    longest: int

    def read(self, step: Step) -> Read:
        """Return what became of an item; whatever is wrong with it alone is told, not raised."""
        try:
            step.item.uri.encode()
            return self._read(step)
        except FileNotFoundError:
            return Read(step=step, reason="It vanished while it was being read.", vanished=True)
        except UnicodeEncodeError:
            return Read(step=step, reason="Its name is not valid UTF-8. Rename it.")
        except IngestError as error:
            kept = " The version read before stays." if step.old.file else ""
            return Read(step=step, reason=f"{error}{kept}")

    def _read(self, step: Step) -> Read:
        item, old = step.item, step.old.file
        data = self.connector.fetch(item)
        digest = hashlib.sha256(data).hexdigest()
        if old and self.plan.making.made(old) and old.content_digest == digest:
            return Read(step=step)
        if moved := self.plan.moved(step, digest):
            return Read(step=step, moved=moved)
        name = f"{item.uri}.{item.read_as}" if item.read_as else item.uri
        extracted = self.extractor.extract(data, name)
        inside = [(f"{item.uri}{MEMBER}{member.uri}", member) for member in extracted.members]
        pieces = [
            self._piece(item, uri, member.extracted, _digest(member.extracted))
            for uri, member in inside
            if member.extracted is not None
        ]
        return Read(
            step=step,
            pieces=(*pieces, self._piece(item, item.uri, extracted, digest, size_bytes=len(data))),
            refused=tuple((uri, member.reason) for uri, member in inside if member.extracted is None),
            notices=extracted.notices,
        )

    def _piece(
        self, item: Item, uri: str, extracted: Extracted, digest: str, *, size_bytes: int | None = None
    ) -> Piece:
        title = (item.title if uri == item.uri else None) or extracted.title
        title = shortened(title, self.longest // 4, self.count)
        beside, from_root = _superseded(extracted.supersedes, uri)
        chunks = chunk(
            extracted, max_tokens=self.chunk_tokens, count=self.count, title=title, longest=self.longest
        )
        document = NewDocument(
            source=self.connector.name,
            uri=uri,
            title=title,
            media_type=extracted.media_type,
            content_digest=digest,
            fingerprint=item.fingerprint,
            size_bytes=len(extracted.text.encode()) if size_bytes is None else size_bytes,
            labels=item.labels,
            text=extracted.text,
            dated=extracted.dated or item.dated,
            supersedes=beside,
            supersedes_else=from_root,
            language=extracted.language,
            recipe=self.plan.making.recipe_of(uri),
        )
        texts = tuple(f"{title_path(title, piece.headings)}\n{piece.text}" for piece in chunks)
        return Piece(document=document, chunks=chunks, texts=texts)


def _digest(extracted: Extracted) -> str:
    """Stand in for the digest of what stood inside a file: its bytes are not kept, only what they say."""
    return hashlib.sha256(f"{extracted.title}\0{extracted.text}".encode()).hexdigest()


def _superseded(written: str | None, uri: str) -> tuple[str | None, str | None]:
    """Return the uri that `supersedes` means, beside the document, else the one from the source's root."""
    if not written:
        return None, None
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(uri), written))
    from_root = posixpath.normpath(written).lstrip("/")
    if beside.startswith("/"):
        beside = from_root
    if beside == uri:
        return None, None
    outside = from_root.startswith("../")
    return beside, None if outside or from_root in (beside, uri) else from_root
