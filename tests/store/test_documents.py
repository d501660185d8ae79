"""Documents, chunks, classes, and the changes that indexes follow."""

import shutil
from itertools import permutations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from assistant.errors import IndexDamaged, StoreError, Unknown
from assistant.store.database import Database
from assistant.store.documents import Documents, document_id
from assistant.store.records import NewChunk, NewDocument
from assistant.types import Labels

EVERYONE = Labels(source="files", principals=frozenset({"everyone"}))
MANAGERS = Labels(source="files", principals=frozenset({"group:managers"}), department="hr")
EMBEDDER = "e" * 64


@pytest.fixture
def documents(database):
    return Documents(database)


def put(documents, uri="a.md", words=("one", "two"), labels=EVERYONE, embedder=EMBEDDER, **more):
    whole = "\n\n".join(words)
    at = 0
    pieces = []
    for ordinal, word in enumerate(words):
        pieces.append(
            NewChunk(ordinal=ordinal, text=word, start=at, end=at + len(word), page=1, headings=("T", "H"))
        )
        at += len(word) + 2
    new = NewDocument(
        source="files",
        uri=uri,
        title="T",
        media_type="text/markdown",
        content_digest=whole,
        fingerprint="1",
        size_bytes=len(whole),
        labels=labels,
        text=whole,
        **more,
    )
    vectors = np.arange(len(words) * 4, dtype=np.float32).reshape(-1, 4)
    return documents.put(new, pieces, vectors, embedder)


def chunks(documents, ids):
    """The living chunks, as somebody reads them who may read every class."""
    return documents.readable(frozenset(known.id for known in documents.classes())).chunks(ids)


def replayed(documents, limit=5000, embedder=EMBEDDER):
    """Follow the changes from the start, as an index does: chunk id -> (class id, text)."""
    state, after = {}, 0
    while True:
        changes = documents.changes(after, embedder, limit)
        assert len(changes.upserted) + len(changes.removed) <= limit
        for chunk in changes.upserted:
            state[chunk.id] = (chunk.class_id, chunk.text)
        for number in changes.removed:
            state.pop(number, None)
        if changes.number == after:
            return state
        after = changes.number


def test_a_document_comes_back_as_it_was_put(documents):
    stored = put(documents, dated="2026-01-01", language="en")
    assert stored.id == document_id("files", "a.md")
    assert stored == documents.get(stored.id) == documents.find("files", "a.md")
    assert stored.access_class.labels == EVERYONE
    assert stored.dated == "2026-01-01" and stored.ingested_at.tzinfo
    assert documents.text(stored.id) == "one\n\ntwo"
    (chunk, document), (second, _) = chunks(documents, [1, 2]).values()
    assert document == stored
    assert (chunk.text, chunk.start, chunk.end, chunk.page, chunk.headings) == ("one", 0, 3, 1, ("T", "H"))
    assert documents.text(stored.id)[second.start : second.end] == second.text == "two"


def test_vectors_are_kept_as_float16(documents):
    put(documents)
    first, second = documents.changes(0, EMBEDDER).upserted
    assert first.vector.dtype == np.float16
    assert second.vector.tolist() == [4, 5, 6, 7]
    assert first.headings_text == "T › H"


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_vectors_follow_as_changes_do(documents, limit):
    """The same chunks, classes, removals and numbers, without texts."""
    first = put(documents, words=("one", "two", "three"))
    put(documents, uri="b.md", words=("four",))
    put(documents, uri="c.md", embedder="another")
    documents.relabel(first.id, Labels(source="files", principals=frozenset({"group:x"})))
    documents.remove(documents.find("files", "b.md").id)
    after = 0
    while True:
        changes = documents.changes(after, EMBEDDER, limit)
        vectors = documents.vectors(after, EMBEDDER, limit)
        assert vectors.number == changes.number
        assert vectors.ids.tolist() == [chunk.id for chunk in changes.upserted]
        assert vectors.class_ids.tolist() == [chunk.class_id for chunk in changes.upserted]
        assert vectors.vectors.tolist() == [chunk.vector.tolist() for chunk in changes.upserted]
        assert vectors.removed.tolist() == list(changes.removed)
        if changes.number == after:
            break
        after = changes.number


def test_newer_content_replaces_older_and_reuses_no_id(documents):
    put(documents)
    put(documents, words=("three",))
    assert chunks(documents, [1, 2]) == {}
    assert replayed(documents) == {3: (1, "three")}
    assert sorted(documents.changes(0, EMBEDDER).removed) == [1, 2]
    documents.remove(document_id("files", "a.md"))
    put(documents, words=("four",))
    assert set(replayed(documents)) == {4}


def test_a_removed_document_is_gone_from_everything(documents):
    stored = put(documents)
    number = documents.change_number()
    removed = documents.remove(stored.id)
    assert (removed.document, removed.note.chunks) == (stored, 2)
    assert removed.note.change == documents.change_number() == number + 2
    assert documents.get(stored.id) is None
    assert chunks(documents, [1, 2]) == {}
    assert documents.classes() == documents.list() == ()
    changes = documents.changes(number, EMBEDDER)
    assert changes.removed == (1, 2) and changes.number == documents.change_number() > number


@pytest.mark.parametrize("call", ["remove", "text", "relabel", "touch"])
def test_an_unknown_document_is_an_error_and_changes_nothing(documents, call):
    more = {"relabel": (MANAGERS,), "touch": ("2",)}.get(call, ())
    with pytest.raises(Unknown, match="nowhere"):
        getattr(documents, call)("nowhere", *more)
    assert documents.change_number() == 0


def test_relabelling_moves_the_chunks_to_another_class(documents):
    stored = put(documents)
    other = put(documents, "b.md")
    number = documents.change_number()
    documents.relabel(stored.id, MANAGERS)
    changes = documents.changes(number, EMBEDDER)
    assert [(chunk.id, chunk.class_id) for chunk in changes.upserted] == [(1, 2), (2, 2)]
    assert documents.get(stored.id).access_class.labels == MANAGERS
    assert [known.labels for known in documents.classes()] == [EVERYONE, MANAGERS]
    documents.relabel(other.id, MANAGERS)
    assert [known.id for known in documents.classes()] == [2]


def test_touching_remembers_the_fingerprint_only(documents):
    stored = put(documents)
    number = documents.change_number()
    documents.touch(stored.id, "2")
    assert documents.stored("files")["a.md"].fingerprint == "2"
    assert documents.change_number() == number
    assert documents.stored("files")["a.md"].labels_digest == EVERYONE.digest
    assert documents.stored("other") == {}


def test_a_newer_document_supersedes_while_it_lives(documents):
    old = put(documents, "2024.md")
    newer = put(documents, "2026.md", supersedes="2024.md", dated="2026-01-01")
    assert documents.get(old.id).superseded_by == newer.id
    assert chunks(documents, [1])[1][1].superseded_by == newer.id
    assert documents.get(newer.id).superseded_by is None
    latest = put(documents, "2027.md", supersedes="2024.md", dated="2027-01-01")
    assert documents.get(old.id).superseded_by == latest.id
    documents.remove(latest.id)
    documents.remove(newer.id)
    assert documents.get(old.id).superseded_by is None


PLACES = ("hr/new.md", "hr/old.md", "old.md")
"""One that supersedes `old.md`, and what it may mean by that: beside it, else from the root."""


def superseding(documents):
    """Which of the places the newer document supersedes."""
    newer = documents.find("files", "hr/new.md")
    there = [document for document in documents.list() if document.superseded_by is not None]
    assert all(document.superseded_by == newer.id for document in there)
    return [document.uri for document in there]


@pytest.mark.parametrize("order", list(permutations(PLACES)))
def test_what_is_superseded_may_arrive_in_any_order_and_go_again(documents, order):
    for uri in order:
        more = {"supersedes": "hr/old.md", "supersedes_else": "old.md"} if uri == "hr/new.md" else {}
        put(documents, uri, **more)
    assert superseding(documents) == ["hr/old.md"]
    documents.remove(documents.find("files", "hr/old.md").id)
    assert superseding(documents) == ["old.md"]
    put(documents, "hr/new.md", supersedes="hr/old.md", supersedes_else="old.md")
    assert superseding(documents) == ["old.md"]
    old = documents.find("files", "old.md")
    documents.rename(old.id, "archive/old.md", fingerprint="2", labels=EVERYONE, title="T")
    assert superseding(documents) == ["archive/old.md"]


def test_what_moves_to_the_place_that_was_meant_is_superseded(documents):
    put(documents, "hr/new.md", supersedes="hr/old.md", supersedes_else="old.md")
    moved = put(documents, "attic/old.md")
    assert superseding(documents) == []
    documents.rename(moved.id, "old.md", fingerprint="2", labels=EVERYONE, title="T")
    assert superseding(documents) == ["old.md"]


def test_a_document_cannot_supersede_itself(documents):
    assert put(documents, "a.md", supersedes="a.md").superseded_by is None


def test_chunks_of_another_embedder_are_left_out(documents):
    put(documents, "a.md", embedder="old")
    put(documents, "b.md")
    assert set(replayed(documents)) == {3, 4}
    assert documents.stored("files")["a.md"].embedder == "old"


@pytest.mark.parametrize(
    "vectors", [np.zeros((1, 4)), np.zeros(2), np.full((2, 4), np.nan), np.full((2, 4), np.inf)]
)
def test_vectors_that_do_not_fit_are_refused_whole(documents, vectors):
    put(documents)
    new = NewDocument(
        source="files",
        uri="a.md",
        title="T",
        media_type="m",
        content_digest="new",
        fingerprint="2",
        size_bytes=1,
        labels=EVERYONE,
        text="ab",
    )
    pieces = [NewChunk(ordinal=n, text="x", start=n, end=n + 1) for n in range(2)]
    with pytest.raises(StoreError, match=r"a\.md"):
        documents.put(new, pieces, vectors.astype(np.float32), EMBEDDER)
    assert documents.stored("files")["a.md"].fingerprint == "1"


def test_a_failure_half_way_leaves_the_older_content(documents, database):
    stored = put(documents)
    with database.write() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER full BEFORE INSERT ON chunks WHEN new.text = 'late' "
                "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
        )
    before = replayed(documents)
    with pytest.raises(Exception, match="disk full"):
        put(documents, words=("early", "late"))
    assert replayed(documents) == before
    assert documents.text(stored.id) == "one\n\ntwo"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "relabel"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 4),
        st.sampled_from([EVERYONE, MANAGERS]),
    ),
    max_size=12,
)


@given(steps=STEPS, limit=st.integers(1, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_index_that_follows_the_changes_holds_exactly_the_living(database, tmp_path, steps, limit):
    database.close()
    copy = shutil.copy(tmp_path / "assistant.db", tmp_path / "copy.db")  # an empty one, migrated once
    for rest in ("copy.db-wal", "copy.db-shm"):
        (tmp_path / rest).unlink(missing_ok=True)
    database = Database.open(f"sqlite:///{copy}")
    documents = Documents(database)
    for step, uri, size, labels in steps:
        known = documents.find("files", uri)
        if step == "put":
            put(documents, uri, words=[f"{uri}{n}" for n in range(size)], labels=labels)
        elif known and step == "remove":
            documents.remove(known.id)
        elif known:
            documents.relabel(known.id, labels)
    living = chunks(documents, range(1, 100))
    expected = {number: (doc.access_class.id, chunk.text) for number, (chunk, doc) in living.items()}
    assert replayed(documents, limit) == expected
    assert {doc.uri for _, doc in living.values()} == {doc.uri for doc in documents.list()}
    database.close()


def test_a_renamed_document_keeps_id_text_and_chunks(documents):
    stored = put(documents)
    before = replayed(documents)
    renamed = documents.rename(stored.id, "b.md", fingerprint="2", labels=EVERYONE, title="New")
    assert (renamed.id, renamed.uri, renamed.title) == (stored.id, "b.md", "New")
    assert documents.find("files", "a.md") is None and documents.find("files", "b.md") == renamed
    assert replayed(documents) == before
    assert [chunk.headings_text for chunk in documents.changes(2, EMBEDDER).upserted] == ["New › T › H"] * 2
    documents.rename(stored.id, "b.md", fingerprint="3", labels=MANAGERS, title="New")
    assert {class_id for class_id, _ in replayed(documents).values()} == {2}


def test_the_place_of_a_renamed_document_is_free_for_another(documents):
    first = put(documents)
    documents.rename(first.id, "b.md", fingerprint="1", labels=EVERYONE, title="T")
    second = put(documents)
    assert second.id != first.id and documents.find("files", "a.md").id == second.id
    assert put(documents, "b.md", words=("new",)).id == first.id
    documents.remove(first.id)
    assert put(documents).id == second.id
    with pytest.raises(Unknown):
        documents.rename(first.id, "c.md", fingerprint="1", labels=EVERYONE, title="T")


def test_a_rename_takes_nobodys_place(documents):
    one, other = put(documents, "a.md"), put(documents, "b.md")
    with pytest.raises(StoreError, match=r"a\.md cannot be renamed to b\.md"):
        documents.rename(one.id, "b.md", fingerprint="1", labels=EVERYONE, title="T")
    assert {document.id for document in documents.list()} == {one.id, other.id}


def test_classes_come_and_go_with_their_documents(documents):
    assert documents.class_changes() == 0
    stored, other = put(documents), put(documents, "b.md")
    assert (documents.class_changes(), documents.class_ids()) == (1, {1})
    documents.relabel(stored.id, MANAGERS)
    assert (documents.class_changes(), documents.class_ids()) == (2, {1, 2})
    assert [known.id for known in documents.classes(above=1)] == [2]
    documents.relabel(other.id, MANAGERS)
    assert (documents.class_changes(), documents.class_ids()) == (3, {2})
    documents.relabel(other.id, EVERYONE)
    assert documents.class_ids() == {2, 3}, "the number of a class is never used again"
    put(documents, labels=EVERYONE)
    documents.remove(other.id)
    assert documents.class_ids() == {3}


def test_a_reader_sees_only_what_the_classes_permit(documents):
    one, other = put(documents), put(documents, "b.md", labels=MANAGERS)
    view = documents.readable(frozenset({1}))
    assert view.get(one.id) == one and view.text(one.id) == "one\n\ntwo"
    assert [piece.text for piece in view.pieces(one.id)] == ["one", "two"]
    assert view.get(other.id) is view.text(other.id) is None
    assert view.pieces(other.id) == () == view.named("b.md")
    assert view.named("files:a.md") == view.named(one.id) == (one,) == view.page(limit=9)
    assert set(view.chunks([1, 2, 3, 4])) == {1, 2}
    nobody = documents.readable(frozenset())
    assert nobody.chunks([1, 2]) == {} and nobody.get(one.id) is None and nobody.page(limit=9) == ()
    assert documents.unrestricted().page(limit=9) == documents.list() == (one, other)


def test_a_page_goes_on_where_the_last_one_ended(documents):
    for number in range(7):
        put(documents, f"{number}.md", labels=EVERYONE if number % 2 else MANAGERS)
    view, found, place = documents.readable(documents.class_ids()), [], ("", "")
    while page := view.page(limit=2, after=place):
        found += page
        place = (page[-1].source, page[-1].uri)
    assert found == list(documents.list())
    assert len(documents.readable(frozenset({1})).page(limit=9)) == 4


def test_pruned_removals_are_told_to_an_index_that_had_not_followed(documents):
    for number in range(4):
        documents.remove(put(documents, f"{number}.md").id)
    living = put(documents, "living.md")
    assert documents.prune(keep=8) == 0
    assert documents.prune(keep=3) == 5
    with pytest.raises(IndexDamaged, match="is at change 4"):
        documents.changes(4, EMBEDDER)
    assert {text for _, text in replayed(documents).values()} == {"one", "two"}
    documents.changes(documents.change_number(), EMBEDDER)
    assert documents.get(living.id)


def test_what_embedded_them_is_found_in_an_index(documents):
    """It is asked again and again after a swap that failed: it must not read every document."""
    assert documents.embedded_by("old") == "old"
    put(documents, "a.md", embedder="new")
    assert documents.embedded_by("old") == documents.embedded_by("new") == "new"
    put(documents, "b.md", embedder="old")
    assert documents.embedded_by("old") == "old"
    with documents._database.read() as connection:
        query = "EXPLAIN QUERY PLAN SELECT embedder FROM documents WHERE embedder = 'x' LIMIT 1"
        [step] = connection.exec_driver_sql(query)
    assert step.detail.startswith("SEARCH documents USING")
