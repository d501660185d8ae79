import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.retrieval.vector import VectorIndex
from assistant.types import Labels


@pytest.fixture
def open_index(tmp_path, embedder):
    def open_index(digest=None):
        return VectorIndex(
            tmp_path / "vectors.npz", embedder=digest or embedder.digest, dimensions=embedder.dimensions
        )

    return open_index


def ids(index, embedder, question, permitted, limit=10):
    return [hit.id for hit in index.search(embedder.embed([question])[0], permitted, limit)]


def test_only_permitted_rows_are_ranked(open_index, documents, put, embedder):
    mine = put("a", "annual leave is 25 days").access_class.id
    theirs = put("b", "annual leave is 25 days", who="group:managers").access_class.id
    index = open_index()
    index.catch_up(documents)

    assert len(ids(index, embedder, "annual leave", frozenset({mine}))) == 1
    assert len(ids(index, embedder, "annual leave", frozenset({mine, theirs}))) == 2
    assert ids(index, embedder, "annual leave", frozenset()) == []
    assert ids(index, embedder, "annual leave", frozenset({999, -1})) == []


def test_it_follows_changes_removals_and_new_labels(open_index, documents, put, embedder, all_classes):
    index = open_index()
    index.catch_up(documents)
    assert ids(index, embedder, "leave", all_classes()) == []

    first = put("a", "annual leave is 25 days\nsick leave is paid")
    index.catch_up(documents)
    old = ids(index, embedder, "leave", all_classes())
    assert len(old) == 2

    put("a", "annual leave is 30 days")
    index.catch_up(documents)
    (new,) = ids(index, embedder, "leave", all_classes())
    assert new not in old

    documents.relabel(first.id, Labels(source="files", principals=frozenset({"group:x"})))
    index.catch_up(documents)
    assert ids(index, embedder, "leave", frozenset({first.access_class.id})) == []
    assert ids(index, embedder, "leave", all_classes()) == [new]

    documents.remove(first.id)
    index.catch_up(documents)
    assert len(index) == 0


def test_a_saved_index_is_taken_up_and_the_tail_added(open_index, documents, put, embedder, all_classes):
    put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    index.save()
    put("b", "travel by train")

    again = open_index()
    assert again.number == index.number
    again.catch_up(documents)

    assert len(ids(again, embedder, "leave train", all_classes())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "junk", "gone", "other embedder"])
def test_a_file_that_cannot_be_trusted_is_rebuilt(
    open_index, documents, put, embedder, all_classes, tmp_path, damage
):
    put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    index.save()
    file = tmp_path / "vectors.npz"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 3] ^= 0xFF
        file.write_bytes(content)
    elif damage == "junk":
        file.write_bytes(b"\x00" * 100)
    elif damage == "gone":
        file.unlink()
    again = open_index("another" if damage == "other embedder" else None)

    assert again.number == 0
    again.catch_up(documents)
    assert len(ids(again, embedder, "leave", all_classes())) == (0 if damage == "other embedder" else 1)


def test_an_index_ahead_of_the_database_is_rebuilt(open_index, documents, put, embedder, all_classes):
    put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    index.number = 1_000
    index.save()

    again = open_index()
    again.catch_up(documents)

    assert again.number == documents.change_number()
    assert len(ids(again, embedder, "leave", all_classes())) == 1


def test_many_removals_are_compacted(open_index, documents, put, embedder, all_classes, monkeypatch):
    monkeypatch.setattr("assistant.retrieval.vector._COMPACT_ABOVE", 3)
    index = open_index()
    for round_number in range(8):
        put("a", f"annual leave is {round_number} days")
        index.catch_up(documents)

    assert len(index) == 1
    assert len(index._ids) < 8
    assert len(ids(index, embedder, "leave", all_classes())) == 1


def test_similarities_are_cosines(open_index, documents, put, embedder, all_classes):
    put("a", "leave", title="annual")
    index = open_index()
    index.catch_up(documents)
    question = embedder.embed(["annual leave"])[0]
    (number,) = ids(index, embedder, "annual leave", all_classes())

    assert index.similarities(question, [number, 999]) == {number: pytest.approx(1.0, abs=1e-3)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 5), min_size=1, max_size=40), st.sets(st.integers(0, 6)))
def test_the_permitted_top_is_exact(open_index, embedder, classes, permitted):
    from assistant.store.documents import Changes, IndexedChunk

    generator = np.random.default_rng(len(classes))
    vectors = generator.normal(size=(len(classes), 384)).astype(np.float16)
    upserted = tuple(
        IndexedChunk(id=number, class_id=class_id, text="", headings_text="", vector=vector)
        for number, (class_id, vector) in enumerate(zip(classes, vectors, strict=True), 1)
    )
    index = open_index()
    index._apply(Changes(number=len(classes), upserted=upserted, removed=()))
    question = generator.normal(size=384).astype(np.float32)

    found = [hit.id for hit in index.search(question, frozenset(permitted), 5)]

    scores = vectors.astype(np.float32) @ question
    allowed = [row for row, class_id in enumerate(classes) if class_id in permitted]
    assert found == [row + 1 for row in sorted(allowed, key=lambda row: -scores[row])[:5]]
