"""Ingests that die, and what must hold after each: one workspace, many accidents.

It owns the accidents (a kill, writes that fail for a while, a disk that fills up), the children that suffer
them, and the check of what they left, made by a fresh process that only reads: no acknowledged document
lost, none doubled, and both indexes either right or built anew. Extraction is a stand-in and the embedder
the public fake: both are measured elsewhere.

A write fails as the operating system fails it: `RLIMIT_FSIZE` makes every write beyond a file size end in
EFBIG, through SQLite, tantivy and numpy alike. Not covered: an fsync that fails, and power loss.
"""

from __future__ import annotations

import hashlib
import multiprocessing as processes
import os
import random
import re
import resource
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from assistant.extraction.extracted import Extracted
    from assistant.store.documents import Documents

Accident = Literal["kill", "fault", "full", "none"]
_WORD = re.compile(r"marker\w+")
_A_DOCUMENT_S = 0.02
_CHILDREN = processes.get_context("fork")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an ingest ended: what it had acknowledged, by uri, and its error, "" if it was killed or done."""

    acknowledged: dict[str, str]
    finished: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a fresh process finds: content digests by uri, doubled chunks, and what indexes got wrong."""

    digests: dict[str, str]
    doubled: int
    damaged: tuple[str, ...]


def warm() -> None:
    """Import what children need, before they part; nothing is used yet that a fork would break."""
    import alembic.command  # noqa: F401
    import faiss  # noqa: F401

    import assistant.connectors.files
    import assistant.ingest
    import assistant.retrieval.search
    import assistant.testing.embedder  # noqa: F401


def write(docs: Path, number: int, version: int) -> None:
    """Write a document of three parts, each with a word that stands nowhere else."""
    parts = "\n\n".join(
        f"## Part {part}\n\nRule {number}.{part} says marker{number}x{part}x{version}." for part in range(3)
    )
    (docs / f"rule-{number:02}.md").write_text(f"# Rule {number}\n\n{parts}\n")


def ingest(folder: Path, accident: Accident, chance: random.Random, within: int) -> Outcome:
    """Ingest `folder`/docs in a child that meets an accident near one of its first `within` documents."""
    own, other = _CHILDREN.Pipe(duplex=False)
    at, moment_s = chance.randint(0, within), chance.uniform(0, _A_DOCUMENT_S)
    fault = (at, moment_s, chance.random()) if accident == "fault" else None
    child = _CHILDREN.Process(target=_ingest, args=(folder, other, fault))
    child.start()
    other.close()
    acknowledged: dict[str, str] = {}
    finished, error = False, ""
    with suppress(EOFError, OSError):
        while True:
            if accident == "kill" and len(acknowledged) == at and child.is_alive():
                time.sleep(moment_s)
                child.kill()
            kind, about = own.recv()
            if kind == "done":
                finished = True
            elif kind == "error":
                error = about
            elif kind != "ready":
                acknowledged[about] = kind
    child.join(60)
    assert child.exitcode is not None, "a child did not end"
    return Outcome(acknowledged=acknowledged, finished=finished, error=error)


def look(folder: Path) -> State:
    """Read what is there in a fresh process."""
    own, other = _CHILDREN.Pipe(duplex=False)
    child = _CHILDREN.Process(target=_look, args=(folder, other))
    child.start()
    other.close()
    state = own.recv()
    child.join(60)
    assert isinstance(state, State), state
    return state


def _ingest(folder: Path, pipe: Connection, fault: tuple[int, float, float] | None) -> None:
    from assistant import ingest
    from assistant.config import Settings
    from assistant.connectors.config import FilesSource
    from assistant.connectors.files import Files
    from assistant.retrieval.search import Search
    from assistant.store.database import Database
    from assistant.store.documents import Documents
    from assistant.testing.embedder import FakeEmbedder

    embedder = FakeEmbedder()
    source = FilesSource.model_validate({"name": "docs", "url": "docs", "default": {"access": ["everyone"]}})
    database = Database.open(f"sqlite:///{folder}/var/assistant.db")
    try:
        database.migrate()
        documents = Documents(database)
        pipe.send(("ready", ""))
        search = Search(documents, embedder, folder / "var" / "indexes")

        def acknowledge(step: ingest.Progress) -> None:
            pipe.send((step.outcome, step.uri))
            if fault is not None and step.done == fault[0] + 1:
                threading.Thread(target=_fail_writes, args=fault[1:], daemon=True).start()
            if step.done % 7 == 0:
                search.catch_up()
                search.save()

        ingest.run(
            Files(source, workspace=folder),
            documents=documents,
            extractor=_Plain(),
            embed=embedder.embed,
            count=embedder.count_tokens,
            longest=embedder.max_tokens,
            embedder=embedder.digest,
            settings=Settings(workspace=folder),
            progress=acknowledge,
        )
        search.catch_up()
        search.save()
        pipe.send(("done", ""))
    except BaseException as error:  # noqa: BLE001 - an accident may come out as anything, a Rust panic too
        pipe.send(("error", f"{type(error).__name__}: {error}"[:300]))
    finally:
        pipe.close()
        os._exit(0)


class _Plain:
    """Takes Markdown apart by its headings, in this process."""

    def extract(self, data: bytes, uri: str) -> Extracted:
        from assistant.extraction.extracted import Builder

        builder = Builder()
        for line in data.decode().split("\n\n"):
            heading = line.startswith("#")
            level = len(line) - len(line.lstrip("#"))
            builder.add("heading" if heading else "paragraph", line.lstrip("# "), level=level)
        return builder.build(title=Path(uri).stem, media_type="text/markdown")


def _fail_writes(after_s: float, share: float) -> None:
    """After a while let every write beyond some size fail, for some milliseconds or for good."""
    time.sleep(after_s)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = int(share * 400_000) if share > 0.3 else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    if share * 100 % 1 < 0.5:
        time.sleep(0.001 + share * 0.05)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _look(folder: Path, pipe: Connection) -> None:
    try:
        pipe.send(_state(folder))
    except BaseException as error:  # noqa: BLE001 - the parent says what went wrong
        pipe.send(f"{type(error).__name__}: {error}")
    finally:
        pipe.close()
        os._exit(0)


def _state(folder: Path) -> State:
    from sqlalchemy import text

    from assistant.store.database import Database
    from assistant.store.documents import Documents

    database = Database.open(f"sqlite:///{folder}/var/assistant.db")
    database.migrate()
    documents = Documents(database)
    damaged = []
    with database.read() as connection:
        if connection.execute(text("PRAGMA integrity_check")).scalar_one() != "ok":
            damaged.append("database")
    view = documents.unrestricted()
    digests, places = {}, Counter[tuple[str, str]]()
    markers: dict[int, str] = {}
    for document in documents.list():
        whole = documents.text(document.id)
        digests[document.uri] = document.content_digest
        for piece in view.pieces(document.id):
            places[document.uri, piece.text] += 1
            if whole[piece.start : piece.end] != piece.text:
                damaged.append(f"text of {document.uri}")
            markers[piece.id] = piece.text
    damaged += _indexes(folder, documents, markers)
    doubled = sum(count - 1 for count in places.values())
    return State(digests=digests, doubled=doubled, damaged=tuple(damaged))


def _indexes(folder: Path, documents: Documents, chunks: dict[int, str]) -> Iterator[str]:
    """Compare both indexes with the database, from outside: everything living is found, nothing else."""
    import numpy as np

    from assistant.retrieval.lexical import LexicalIndex
    from assistant.retrieval.search import Search
    from assistant.retrieval.words import content
    from assistant.testing.embedder import FakeEmbedder

    embedder, permitted = FakeEmbedder(), documents.class_ids()
    search = Search(documents, embedder, folder / "var" / "indexes")
    search.catch_up()
    room = len(chunks) + 50
    question = embedder.embed(["Rule"])[0]
    scores = {hit.id: hit.score for hit in search._vectors.search(question, permitted, room)}
    if permitted and set(scores) != set(chunks):
        yield f"vectors: {len(set(chunks) - set(scores))} missing, {len(set(scores) - set(chunks))} too many"
    for change in documents.changes(0, embedder.digest, 100_000).upserted:
        if abs(scores.get(change.id, 9.0) - float(change.vector.astype(np.float32) @ question)) > 0.01:
            yield f"vectors: chunk {change.id} has another score"
    lexical: LexicalIndex = search._lexical
    for id, text in chunks.items():
        for marker in _WORD.findall(text):
            found = {hit.id for hit in lexical.search(content(marker), permitted, 10)}
            if found != {other for other, words in chunks.items() if marker in words}:
                yield f"lexical: {marker} finds {sorted(found)}, not {id}"


def mounted(folder: Path, size: int) -> Callable[[], None] | None:
    """Mount a disk of `size` bytes at `folder`; return what takes it away, None if we may not mount."""
    folder.mkdir(parents=True)
    options = f"size={size}"
    if os.system(f"mount -t tmpfs -o {options} tmpfs {folder} 2>/dev/null"):  # noqa: S605 - our own words
        return None

    def away() -> None:
        os.system(f"umount {folder}")  # noqa: S605

    return away


def fill(folder: Path, left: int) -> Path:
    """Fill the disk of a folder until `left` bytes are free; return the file that does it."""
    ballast = folder / "ballast"
    free = shutil.disk_usage(folder).free
    with ballast.open("wb") as stream, suppress(OSError):
        stream.write(bytes(max(0, free - left)))
        stream.flush()
    return ballast


def digests(docs: Path) -> dict[str, str]:
    """Return what the store should hold in the end."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(docs.glob("*.md"))}
