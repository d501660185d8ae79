"""The pipeline of one ingest, on one screen: discover, fetch, extract, chunk, embed, store.

It owns what counts as changed and the lock that keeps two ingests of one source apart. A document is
stored in one transaction or not at all; one that cannot be read is reported and the rest goes on. It
refuses to keep what its source no longer holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import posixpath
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.config import Settings
from assistant.connectors.base import Connector, Item
from assistant.errors import IngestError, SourceBusy
from assistant.retrieval.chunk import chunk
from assistant.retrieval.extract import Extracted
from assistant.store.documents import Documents
from assistant.store.records import NewDocument, Stored, title_path

Outcome = Literal["added", "changed", "unchanged", "relabelled", "removed", "refused"]
Embed = Callable[[list[str]], NDArray[np.float32]]
RECIPE = 1  # raise it when extraction or chunking changes, so that stored documents are read again


class Extracts(Protocol):
    """What takes a file apart: `assistant.retrieval.extract.Extractor`."""

    def extract(self, data: bytes, uri: str) -> Extracted:
        """Return the text and structure of a file, or raise IngestError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One document is done: which, how it ended, and how many of how many that makes."""

    uri: str
    outcome: Outcome
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How an ingest ended. `refused` holds uri and reason; `chunks` counts those embedded."""

    added: int
    changed: int
    unchanged: int
    relabelled: int
    removed: int
    refused: tuple[tuple[str, str], ...]
    chunks: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ingest:
    """What every step of one run needs, and the tally it keeps."""

    connector: Connector
    documents: Documents
    extractor: Extracts
    embed: Embed
    count: Callable[[str], int]
    embedder: str
    chunk_tokens: int
    before: dict[str, Stored]
    present: frozenset[str]
    tally: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(_OUTCOMES, 0))
    refused: list[tuple[str, str]] = field(default_factory=list)
    embedded: list[int] = field(default_factory=list)

    @property
    def recipe(self) -> str:
        """What besides the content decides how a document is stored."""
        return f"{RECIPE}/{self.chunk_tokens}"


_OUTCOMES: tuple[Outcome, ...] = ("added", "changed", "unchanged", "relabelled", "removed", "refused")


def run(
    connector: Connector,
    *,
    documents: Documents,
    extractor: Extracts,
    embed: Embed,
    count: Callable[[str], int],
    embedder: str,
    settings: Settings,
    progress: Callable[[Progress], None] = lambda _: None,
    remove_missing: bool = True,
    under: str = "",
) -> Summary:
    """Bring the store to what a source holds now.

    Args:
        embed: texts to unit rows, shape (texts, dimensions).
        count: tokens of a text, of the embedder's.
        embedder: digest of the embedder; documents of another are embedded anew.
        remove_missing: delete stored documents that the source no longer holds.
        under: the part of the source that the connector listed; only there is anything removed.

    Raises:
        SourceBusy: another ingest of this source is running.
        IngestError, ConfigError: the source cannot be listed; nothing was changed.
        StoreError: the database cannot be written; what was reported before stays.
    """
    started = time.monotonic()
    with _lock(connector.name, settings):
        items = {item.uri: item for item in connector.discover()}
        ingest = _Ingest(
            connector=connector,
            documents=documents,
            extractor=extractor,
            embed=embed,
            count=count,
            embedder=embedder,
            chunk_tokens=settings.retrieval.chunk_tokens,
            before=documents.stored(connector.name),
            present=frozenset(items),
        )
        gone = [uri for uri in ingest.before if uri not in items and _is_under(uri, under)]
        steps = [*items, *(gone if remove_missing else ())]
        for done, uri in enumerate(steps, 1):
            outcome = _bring(ingest, items[uri]) if uri in items else _remove(ingest, uri)
            ingest.tally[outcome] += 1
            progress(Progress(uri=_printable(uri), outcome=outcome, done=done, total=len(steps)))
    return _summary(ingest, time.monotonic() - started)


def _bring(ingest: _Ingest, item: Item) -> Outcome:
    """Bring one document up to date; a reason why it cannot be is kept, not raised."""
    try:
        return _one(ingest, item)
    except FileNotFoundError:
        ingest.refused.append((_printable(item.uri), "It vanished while it was being read."))
        if item.uri in ingest.before:
            ingest.documents.remove(ingest.before[item.uri].id)
            return "removed"
    except UnicodeEncodeError:
        ingest.refused.append((_printable(item.uri), "Its name is not valid UTF-8. Rename it."))
    except IngestError as error:
        kept = " The version read before stays." if item.uri in ingest.before else ""
        ingest.refused.append((_printable(item.uri), f"{error}{kept}"))
    return "refused"


def _one(ingest: _Ingest, item: Item) -> Outcome:
    item.uri.encode()
    old = ingest.before.get(item.uri)
    relabelled = old is not None and old.labels_digest != item.labels.digest
    if old and relabelled:  # first, so that tighter access holds whatever happens to the content
        ingest.documents.relabel(old.id, item.labels)
    current = old is not None and (old.embedder, old.recipe) == (ingest.embedder, ingest.recipe)
    if old and current and old.fingerprint == item.fingerprint:
        return "relabelled" if relabelled else "unchanged"
    data = ingest.connector.fetch(item)
    digest = hashlib.sha256(data).hexdigest()
    if old and current and old.content_digest == digest:
        ingest.documents.touch(old.id, item.fingerprint)
        return "relabelled" if relabelled else "unchanged"
    _store(ingest, item, data, digest)
    return "changed" if old else "added"


def _store(ingest: _Ingest, item: Item, data: bytes, digest: str) -> None:
    name = f"{item.uri}.{item.read_as}" if item.read_as else item.uri
    extracted = ingest.extractor.extract(data, name)
    title = item.title or extracted.title
    chunks = chunk(extracted, max_tokens=ingest.chunk_tokens, count=ingest.count)
    vectors = ingest.embed([f"{title_path(title, piece.headings)}\n{piece.text}" for piece in chunks])
    document = NewDocument(
        source=ingest.connector.name,
        uri=item.uri,
        title=title,
        media_type=extracted.media_type,
        content_digest=digest,
        fingerprint=item.fingerprint,
        size_bytes=len(data),
        labels=item.labels,
        text=extracted.text,
        dated=extracted.dated or item.dated,
        supersedes=_superseded(extracted.supersedes, item.uri, ingest.present),
        language=extracted.language,
        recipe=ingest.recipe,
    )
    ingest.documents.put(document, chunks, vectors, ingest.embedder)
    ingest.embedded.append(len(chunks))


def _remove(ingest: _Ingest, uri: str) -> Outcome:
    ingest.documents.remove(ingest.before[uri].id)
    return "removed"


def _superseded(written: str | None, uri: str, present: frozenset[str]) -> str | None:
    """Return the uri that `supersedes` means: beside the document, else from the source's root."""
    if not written:
        return None
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(uri), written))
    from_root = posixpath.normpath(written).lstrip("/")
    meant = from_root if beside not in present and from_root in present else beside
    return meant if meant != uri else None


def _summary(ingest: _Ingest, seconds: float) -> Summary:
    return Summary(
        added=ingest.tally["added"],
        changed=ingest.tally["changed"],
        unchanged=ingest.tally["unchanged"],
        relabelled=ingest.tally["relabelled"],
        removed=ingest.tally["removed"],
        refused=tuple(ingest.refused),
        chunks=sum(ingest.embedded),
        seconds=round(seconds, 3),
    )


def _is_under(uri: str, folder: str) -> bool:
    folder = folder.strip("/")
    return not folder or uri == folder or uri.startswith(f"{folder}/")


def _printable(uri: str) -> str:
    return uri.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _lock(source: str, settings: Settings) -> Iterator[None]:
    """Hold the source's lock file; the operating system lets go of it when the process ends."""
    folder = settings.workspace / "var" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"ingest-{re.sub(r'[^A-Za-z0-9_-]', '_', source)}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SourceBusy(
                f"Another ingest of {source} is running.", remedy="Wait for it to end, then try again."
            ) from None
        yield
