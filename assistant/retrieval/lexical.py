"""The lexical index: BM25 over permitted chunks only, derived from the database.

It owns a tantivy index on disk that all processes of a machine share: whoever first sees a change takes
a lock, writes it and moves on; the others find it done. What is on disk is checked against the checksums
in `state.json` once at start, and built anew when missing, damaged, of another embedder, or ahead of the
database. It refuses query syntax: a question is words, not a program.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import tantivy
from tantivy import Document, Occur, Query

from assistant.errors import IndexDamaged
from assistant.retrieval.changes import follow
from assistant.retrieval.hit import Hit
from assistant.retrieval.ondisk import checksum, locked, replace_json
from assistant.retrieval.words import ANALYSER, analyser
from assistant.store.documents import Changes, Documents

_FORMAT = 2
_WRITER_BYTES = 32_000_000
_LOCK_WAIT_S = 30.0
_HEADING_BOOST = 0.25
_MANY_CLASSES, _DEEPER = 200, 10
_TERMS_ALONE = 64
_STATE = "state.json"
_SEGMENTS = (".term", ".idx", ".pos", ".store", ".fast", ".fieldnorm", ".del")


class State(TypedDict):
    """What `state.json` holds."""

    format: int
    embedder: str
    number: int
    files: dict[str, int]


def _schema() -> tantivy.Schema:
    """`key` is the id as a term, for deleting: deleting by a number silently deletes nothing."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("key", tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("id", fast=True)
    builder.add_integer_field("class", indexed=True, fast=True)
    builder.add_text_field("text", tokenizer_name=ANALYSER, index_option="freq")
    builder.add_text_field("heading", tokenizer_name=ANALYSER, index_option="freq")
    return builder.build()


class LexicalIndex:
    """Chunk texts with their headings; `number` is the last change it has seen."""

    def __init__(self, folder: Path, *, embedder: str) -> None:
        self._folder, self._embedder, self.number = folder, embedder, 0
        self._left_alone = 0  # the change number at which what is on disk was another embedder's
        self._schema = _schema()
        self._checksums: dict[str, int] = {}
        self._catching_up = threading.Lock()
        with locked(self._lock_file, _LOCK_WAIT_S):
            try:
                self._open()
            except IndexDamaged:
                self._create()

    def catch_up(self, documents: Documents, latest: int | None = None) -> None:
        """Apply every change since the last one seen, unless another process already did.

        Where others write for too long it leaves the index as it is, which is safe.

        Args:
            latest: `documents.change_number()`, where it was just read.
        """
        if (documents.change_number() if latest is None else latest) in (self.number, self._left_alone):
            return
        with self._catching_up, locked(self._lock_file, _LOCK_WAIT_S) as mine:
            if mine and self._follow(documents):
                self._index.reload()
                self._searcher = self._index.searcher()

    def search(self, words: Sequence[str], permitted: frozenset[int], limit: int) -> list[Hit]:
        """Return the `limit` best chunks that hold one of the words, among permitted classes, best first.

        A filter of many classes costs more than the ranking: then more than `limit` are ranked and the
        readable ones kept, which are the same as long as there are enough of them; else the filter is used.

        Args:
            words: stems, as `words.content` gives them; one that is given twice counts twice.
        """
        if not words or not permitted:
            return []
        any_word = Query.boolean_query([(Occur.Should, query) for query in self._terms(words)])
        if len(permitted) > _MANY_CLASSES:
            deep = self._best(any_word, _DEEPER * limit)
            hits = [found for found in deep if found[2] in permitted]
            if len(hits) >= limit or len(deep) < _DEEPER * limit:
                return [Hit(id=id, score=score) for id, score, _ in hits[:limit]]
        readable = Query.const_score_query(self._readable(permitted), 0.0)
        query = Query.boolean_query([(Occur.Must, any_word), (Occur.Must, readable)])
        best = self._best(query, limit)
        return [Hit(id=id, score=score) for id, score, class_id in best if class_id in permitted]

    def scores(self, words: Sequence[str], ids: Sequence[int]) -> dict[int, float]:
        """Return the scores that `search` gives to these chunks; what holds none of the words has none."""
        if not words or not ids:
            return {}
        these = Query.const_score_query(self._one_of("key", [str(id) for id in ids]), 0.0)
        any_word = Query.boolean_query([(Occur.Should, query) for query in self._terms(words)])
        query = Query.boolean_query([(Occur.Must, any_word), (Occur.Must, these)])
        return {id: score for id, score, _ in self._best(query, len(ids))}

    def _best(self, query: Query, limit: int) -> list[tuple[int, float, int]]:
        """Return id, score and access class of the best chunks, best first."""
        searcher = self._searcher
        found = searcher.search(query, limit, count=False).hits
        addresses = [address for _, address in found]
        ids, classes = (searcher.fast_field_values(name, addresses) for name in ("id", "class"))
        return [
            (id, score, class_id)
            for (score, _), id, class_id in zip(found, ids, classes, strict=True)
            if isinstance(id, int) and isinstance(class_id, int) and isinstance(score, float)
        ]

    def vocabulary(self, beginning: str, permitted: frozenset[int]) -> dict[str, int]:
        """Return the stems that begin so, with how many chunks of the permitted classes hold each."""
        if not permitted:
            return {}
        readable = self._readable(permitted)
        found: dict[str, int] = {}
        for field in ("text", "heading"):
            for stem, count in self._searcher.terms_with_prefix(field, beginning, readable):
                if count:
                    found[stem] = max(count, found.get(stem, 0))
        return found

    def rarity(self, word: str) -> float:
        """Inverse document frequency of a stem, over all chunks."""
        frequency = max(self._searcher.doc_freq(field, word) for field in ("text", "heading"))
        return math.log(1 + (self._searcher.num_docs - frequency + 0.5) / (frequency + 0.5))

    def _readable(self, permitted: frozenset[int]) -> Query:
        return self._one_of("class", sorted(permitted))

    def _one_of(self, field: str, values: Sequence[int] | Sequence[str]) -> Query:
        """Match one of some terms; a set of terms costs as much to make as looking up so many alone."""
        if len(values) > _TERMS_ALONE:
            return Query.term_set_query(self._schema, field, values)
        terms = [Query.term_query(self._schema, field, value, "basic") for value in values]
        return Query.boolean_query([(Occur.Should, term) for term in terms])

    def _terms(self, words: Sequence[str]) -> Iterator[Query]:
        for word, times in Counter(words).items():
            text = Query.term_query(self._schema, "text", word, "freq")
            yield text if times == 1 else Query.boost_query(text, float(times))
            heading = Query.term_query(self._schema, "heading", word, "freq")
            yield Query.boost_query(heading, _HEADING_BOOST * times)

    @property
    def _lock_file(self) -> Path:
        return self._folder.with_suffix(".lock")

    def _follow(self, documents: Documents) -> bool:
        """Follow the database as it is now that we hold the lock: who held it before us may be that far.

        What is on disk is left alone, and False returned, where it is of the embedder of all that is stored
        now, and that is not ours: it is our successor's.
        """
        current = documents.change_number()
        if self.number == current:
            return True
        if not self._adopt(documents):
            self._left_alone = current
            return False
        if self.number > current:
            self._create()
        if self.number == current:
            return True
        try:
            self._write(documents)
        except IndexDamaged:  # what it would have to follow was pruned
            self._create()
            self._write(documents)
        return True

    def _adopt(self, documents: Documents) -> bool:
        """Take over what another process wrote since, or begin anew; False if it is not ours any more."""
        try:
            self.number = int(self._read_state()["number"])
        except IndexDamaged:
            if documents.embedded_by(self._embedder) != self._embedder:
                return False
            self._create()
        return True

    def _write(self, documents: Documents) -> None:
        """Write all new changes in one commit. A crash before `state.json` repeats them: no harm.

        Files of a commit that was cut off go first: this one's would have their names.
        """
        number = self.number
        writer = self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)
        try:
            writer.garbage_collect_files()
            for changes in follow(documents.changes, number, self._embedder):
                self._add(writer, changes)
                number = changes.number
            writer.commit()
        finally:
            writer.wait_merging_threads()
        self.number = number
        self._write_state()

    def _add(self, writer: tantivy.IndexWriter, changes: Changes) -> None:
        for number in [*(chunk.id for chunk in changes.upserted), *changes.removed]:
            writer.delete_documents_by_term("key", str(number))
        gone = set(changes.removed)
        for chunk in changes.upserted:
            if chunk.id not in gone:
                fields = {
                    "key": str(chunk.id),
                    "id": chunk.id,
                    "class": chunk.class_id,
                    "text": chunk.text,
                    "heading": chunk.headings_text,
                }
                writer.add_document(Document.from_dict(fields, self._schema))

    def _create(self) -> None:
        if self._folder.is_file():
            self._folder.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._use(tantivy.Index(self._schema, path=str(self._folder)), number=0)

    def _open(self) -> None:
        """Open what is on disk.

        Raises:
            IndexDamaged: missing, damaged, or of another embedder.
        """
        state = self._read_state()
        for name, known in state["files"].items():
            file = self._folder / name
            if file.is_file() and checksum(file) != known:
                raise IndexDamaged(f"{file} is damaged.")
        if not tantivy.Index.exists(str(self._folder)):  # it would be made anew, empty and unnoticed
            raise IndexDamaged(f"{self._folder} lacks its list of files.")
        try:
            index = tantivy.Index(self._schema, path=str(self._folder), reuse=True)
        except ValueError as error:
            raise IndexDamaged(f"{self._folder} cannot be opened: {error}.") from error
        self._use(index, int(state["number"]))

    def _use(self, index: tantivy.Index, number: int) -> None:
        index.register_tokenizer(ANALYSER, analyser())
        index.config_reader("manual")
        self._index, self._searcher, self.number = index, index.searcher(), number

    def _read_state(self) -> State:
        """Read the change number on disk and the checksums of its files.

        Raises:
            IndexDamaged: there is none, or it is of another embedder.
        """
        file = self._folder / _STATE
        try:
            state: State = json.loads(file.read_text(encoding="utf-8"))
            same = (state["format"], state["embedder"]) == (_FORMAT, self._embedder)
            whole = isinstance(state["number"], int) and isinstance(state["files"], dict)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IndexDamaged(f"{file} cannot be read: {error}.") from error
        if not (same and whole):
            raise IndexDamaged(f"{file} is of another embedder or version.")
        return state

    def _write_state(self) -> None:
        """Note the number, and the checksums of segments, which tantivy never changes once written."""
        names = [path.name for path in self._folder.iterdir() if path.suffix in _SEGMENTS]
        self._checksums = {name: self._checksums.get(name) or checksum(self._folder / name) for name in names}
        state = State(format=_FORMAT, embedder=self._embedder, number=self.number, files=self._checksums)
        replace_json(self._folder / _STATE, {**state})
