import json
import multiprocessing
import shutil
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.retrieval import generation
from assistant.retrieval.device import OnDevice
from assistant.retrieval.vector import VectorIndex
from assistant.store.records import VectorChanges
from assistant.types import Labels


@pytest.fixture
def open_index(tmp_path, embedder):
    opened = []

    def open_index(digest=None):
        index = VectorIndex(
            tmp_path / "vectors", embedder=digest or embedder.digest, dimensions=embedder.dimensions
        )
        opened.append(index)
        return index

    yield open_index
    for index in opened:
        index.settle()


def ids(index, embedder, question, permitted, limit=10):
    return [hit.id for hit in index.search(embedder.embed([question])[0], permitted, limit)]


def test_only_permitted_rows_are_ranked(open_index, documents, put, embedder):
    mine = put("a", "annual leave is 25 days").access_class.id
    theirs = put("b", "annual leave is 25 days", who="group:managers").access_class.id
    index = open_index()
    index.catch_up(documents)

    for _ in range(2):
        assert len(ids(index, embedder, "annual leave", frozenset({mine}))) == 1
        assert len(ids(index, embedder, "annual leave", frozenset({mine, theirs}))) == 2
        assert ids(index, embedder, "annual leave", frozenset()) == []
        assert ids(index, embedder, "annual leave", frozenset({999, -1})) == []
        index.save()
        index.catch_up(documents)  # from here on the rows are in a generation


@pytest.mark.parametrize("saves", [False, True])
def test_it_follows_changes_removals_and_new_labels(open_index, documents, put, embedder, all_classes, saves):
    index = open_index()

    def follow():
        index.catch_up(documents)
        if saves:
            index.save()
            index.catch_up(documents)

    follow()
    assert ids(index, embedder, "leave", all_classes()) == []

    first = put("a", "annual leave is 25 days\nsick leave is paid")
    follow()
    old = ids(index, embedder, "leave", all_classes())
    assert len(old) == 2

    put("a", "annual leave is 30 days")
    follow()
    (new,) = ids(index, embedder, "leave", all_classes())
    assert new not in old

    documents.relabel(first.id, Labels(source="files", principals=frozenset({"group:x"})))
    follow()
    assert ids(index, embedder, "leave", frozenset({first.access_class.id})) == []
    assert ids(index, embedder, "leave", all_classes()) == [new]
    assert index.similarities(embedder.embed(["leave"])[0], [new, old[0]]).keys() == {new}

    documents.remove(first.id)
    follow()
    assert len(index) == 0
    assert ids(index, embedder, "leave", frozenset(range(10))) == []


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


DAMAGE = ["cut", "flipped", "junk", "gone", "sums", "state", "no state", "other embedder"]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", ["rows.faiss", "ids.npy", "classes.npy"])
def test_a_generation_that_cannot_be_trusted_is_rebuilt(
    open_index, documents, put, embedder, all_classes, tmp_path, damage, file
):
    put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    index.save()
    (path,) = (tmp_path / "vectors").glob(f"generation-*/{file}")
    state = tmp_path / "vectors" / "state.json"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-1] ^= 0xFF
        path.write_bytes(content)
    elif damage == "junk":
        path.write_bytes(b"\x00" * 100)
    elif damage == "gone":
        path.unlink()
    elif damage == "sums":
        known = json.loads(state.read_text())
        state.write_text(json.dumps({**known, "files": {**known["files"], file: 1}}))
    elif damage == "state":
        state.write_text("{")
    elif damage == "no state":
        state.unlink()
    for _ in range(2):
        again = open_index("another" if damage == "other embedder" else None)
        assert again.number == 0 or _ == 1
        again.catch_up(documents)
        found = ids(again, embedder, "leave", all_classes())
        assert len(found) == (0 if damage == "other embedder" else 1)
        again.save()


def test_damage_found_after_the_start_has_it_rebuilt(open_index, documents, put, embedder, all_classes):
    put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    index.save()
    index.catch_up(documents)
    assert len(index._view.tail) == 0

    index._view.check.damaged = True
    index.catch_up(documents)

    assert index._view.base is None
    assert len(ids(index, embedder, "leave", all_classes())) == 1


def test_an_index_ahead_of_the_database_is_rebuilt(
    open_index, documents, put, embedder, all_classes, tmp_path
):
    put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    index.save()
    state = tmp_path / "vectors" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "number": 1_000}))

    again = open_index()
    assert again.number == 1_000
    again.catch_up(documents)

    assert again.number == documents.change_number()
    assert len(ids(again, embedder, "leave", all_classes())) == 1


def test_pruned_removals_have_it_rebuilt(open_index, documents, put, embedder, all_classes):
    document = put("a", "annual leave is 25 days\nannual leave")
    index = open_index()
    index.catch_up(documents)
    documents.remove(document.id)
    put("b", "annual leave is 30 days")
    documents.prune(keep=0)
    index.catch_up(documents)
    assert len(index) == len(ids(index, embedder, "leave", all_classes())) == 1


def test_many_changes_are_folded_into_the_next_generation(
    open_index, documents, put, embedder, all_classes, monkeypatch
):
    monkeypatch.setattr("assistant.retrieval.vector._FOLD_ABOVE", 3)
    index = open_index()
    for round_number in range(8):
        put("a", f"annual leave is {round_number} days")
        index.catch_up(documents)
        index.settle()

    assert len(index) == 1
    assert index._view.loose < 8
    assert len(ids(index, embedder, "leave", all_classes())) == 1


def test_what_the_tail_cannot_hold_is_written_at_once(
    open_index, documents, put, embedder, all_classes, monkeypatch, tmp_path
):
    monkeypatch.setattr("assistant.retrieval.vector._SPOOL_ABOVE", 3)
    gone, moved = put("gone", "annual leave\nsick leave"), put("moved", "annual leave")
    put("a", "annual leave is 25 days\nsick leave\nparental leave")
    documents.remove(gone.id)
    documents.relabel(moved.id, Labels(source="files", principals=frozenset({"group:x"})))
    index = open_index()
    index.catch_up(documents)

    assert len(index._view.tail) == 0 and len(index) == 4
    assert len(ids(index, embedder, "leave", all_classes())) == 4
    assert len(ids(index, embedder, "leave", frozenset({moved.access_class.id}))) == 3
    assert [path.name for path in (tmp_path / "vectors").glob("*.part")] == []

    documents.remove(moved.id)
    put("b", "annual leave\nsick leave\nparental leave")  # again more than the tail is to hold
    index.catch_up(documents)
    assert len(ids(index, embedder, "leave", all_classes())) == 6
    assert len(list((tmp_path / "vectors").glob("generation-*"))) == 1


def test_without_room_on_disk_it_stays_in_memory(
    open_index, documents, put, embedder, all_classes, monkeypatch, caplog, tmp_path
):
    monkeypatch.setattr("assistant.retrieval.vector._SPOOL_ABOVE", 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("assistant.retrieval.vector.write", full)
    put("a", "annual leave is 25 days\nsick leave\nparental leave")
    index = open_index()
    index.catch_up(documents)
    index.save()

    assert len(ids(index, embedder, "leave", all_classes())) == 3
    assert "No space left" in caplog.text
    assert list((tmp_path / "vectors").glob("generation-*")) == []


def test_similarities_are_cosines(open_index, documents, put, embedder, all_classes):
    put("a", "leave", title="annual")
    index = open_index()
    index.catch_up(documents)
    question = embedder.embed(["annual leave"])[0]
    (number,) = ids(index, embedder, "annual leave", all_classes())
    for _ in range(2):
        assert index.similarities(question, [number, 999]) == {number: pytest.approx(1.0, abs=1e-3)}
        index.save()
        index.catch_up(documents)


def changes(vectors, classes, first=1):
    return VectorChanges(
        number=first + len(classes) - 1,
        ids=np.arange(first, first + len(classes)),
        class_ids=np.array(classes, dtype=np.int64),
        vectors=vectors,
        removed=np.zeros(0, dtype=np.int64),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=40),
    st.sets(st.integers(0, 6)),
    st.sets(st.integers(1, 40)),
    st.integers(0, 40),
)
def test_the_permitted_top_is_exact(tmp_path, embedder, classes, permitted, removed, saved):
    """However rows are spread over a generation, its gone rows and the tail."""
    shutil.rmtree(tmp_path / "exact", ignore_errors=True)
    index = VectorIndex(tmp_path / "exact", embedder=embedder.digest, dimensions=384)
    generator = np.random.default_rng(len(classes))
    vectors = generator.normal(size=(len(classes), 384)).astype(np.float16)
    first = min(saved, len(classes))
    index._view.apply(changes(vectors[:first], classes[:first]))
    index.save()
    index._view = index._later(index._view)
    index._view.apply(changes(vectors[first:], classes[first:], first + 1))
    gone = np.array(sorted(removed), dtype=np.int64)
    none = changes(vectors[:0], [])
    index._view.apply(
        VectorChanges(number=99, ids=none.ids, class_ids=none.class_ids, vectors=none.vectors, removed=gone)
    )
    question = generator.normal(size=384).astype(np.float32)

    found = [hit.id for hit in index.search(question, frozenset(permitted), 5)]

    scores = vectors.astype(np.float32) @ question
    allowed = [row for row, own in enumerate(classes) if own in permitted and row + 1 not in removed]
    assert found == [row + 1 for row in sorted(allowed, key=lambda row: -scores[row])[:5]]


@pytest.fixture(scope="module")
def crowd():
    """Vectors in clusters, of classes of very different sizes: 1 to 3 large, the others one to a few."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(40, 64))
    cluster = generator.integers(0, 40, size=6_000)
    vectors = centres[cluster] + 0.7 * generator.normal(size=(6_000, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = np.where(cluster < 20, 1 + cluster % 3, 10 + generator.integers(0, 900, size=6_000))
    return vectors.astype(np.float16), classes


@pytest.fixture(scope="module")
def crowded(crowd, tmp_path_factory):
    """A folder with a compressed generation of the crowd; what is small enough for a test counts as large."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("COMPRESS_ABOVE", 1_000), ("SAMPLE", 5_000), ("_EXACT_BELOW", 100)):
            patch.setattr(generation, name, value)
        patch.setattr(generation, "_DEPTH", 200)
        folder = tmp_path_factory.mktemp("crowded")
        index = VectorIndex(folder, embedder="e", dimensions=64)
        index._view.apply(changes(*crowd))
        index.save()
        yield folder


@pytest.fixture
def compressed(crowded):
    index = VectorIndex(crowded, embedder="e", dimensions=64)
    assert len(index._view.tail) == 0 and index._view.base._compressed is not None
    return index


SETS = {
    "all": range(1, 1_000),
    "large": [1, 2],
    "small": range(10, 910),
    "every second small": range(10, 910, 2),
    "every ninth small": range(10, 910, 9),
    "few": range(10, 14),
    "nobody": [9, 100_000],
}


@pytest.mark.parametrize("name", SETS)
def test_the_compressed_scan_finds_the_permitted_top(compressed, crowd, name):
    vectors, classes = crowd
    permitted = frozenset(SETS[name])
    allowed = np.flatnonzero(np.isin(classes, list(permitted)))
    generator = np.random.default_rng(1)
    hits = wanted = 0
    for row in generator.integers(0, len(vectors), size=20):
        question = vectors[row].astype(np.float32) + 0.05 * generator.normal(size=64).astype(np.float32)
        scores = vectors[allowed].astype(np.float32) @ question
        best = allowed[np.argsort(-scores)[:10]] + 1
        found = compressed.search(question, permitted, 10)
        assert {hit.id - 1 for hit in found} <= set(allowed.tolist())
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
        hits += len({hit.id for hit in found} & set(best.tolist()))
        wanted += len(best)
    assert hits >= 0.99 * wanted


@pytest.mark.parametrize("name", SETS)
def test_on_a_device_the_same_is_found(compressed, crowd, name):
    """What runs on a GPU, run by torch on the processor: no more can be shown without one."""
    base = compressed._view.base
    permitted = np.array(sorted(SETS[name]))
    rows = base._range_rows(base._part(permitted))
    device = OnDevice(base.rows, "cpu")
    for row in (0, 77, 500):
        question = crowd[0][row].astype(np.float32)
        for ours, theirs in zip(
            device.best(question, rows, 10), base.rows.best(question, rows, 10), strict=True
        ):
            assert ours == pytest.approx(theirs, abs=1e-6)


def test_too_few_readable_near_the_question_fall_back_to_exact(compressed, crowd, monkeypatch):
    """All that lies near a large class is of that class; what is permitted is elsewhere, and is found."""
    vectors, classes = crowd
    asked = []
    exact = generation.Rows.best
    monkeypatch.setattr(generation.Rows, "best", lambda self, *given: asked.append(1) or exact(self, *given))
    gone = np.flatnonzero(classes == 1) + 1
    none = changes(vectors[:0], [])
    compressed._view.apply(
        VectorChanges(
            number=9_999, ids=none.ids, class_ids=none.class_ids, vectors=none.vectors, removed=gone[20:]
        )
    )
    question = vectors[gone[0] - 1].astype(np.float32)
    asked.clear()
    found = compressed.search(question, frozenset({1}), 10)
    assert {hit.id for hit in found} <= set(gone[:20].tolist()) and len(found) == 10
    assert len(asked) == 2  # the tail, and the generation


def test_searches_go_on_while_rows_come_and_generations_change(
    open_index, documents, put, embedder, monkeypatch
):
    monkeypatch.setattr("assistant.retrieval.vector._FOLD_ABOVE", 20)
    index, failures, done = open_index(), [], threading.Event()
    question, permitted = embedder.embed(["annual leave"])[0], frozenset(range(20))

    def ask():
        try:
            while not done.is_set():
                found = index.search(question, permitted, 10)
                index.similarities(question, [hit.id for hit in found])
                assert len(found) == len({hit.id for hit in found})
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    put("first", "annual leave")
    index.catch_up(documents)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(12):
        put(f"{number}", "\n".join(f"annual leave rule {line}" for line in range(30)))
        index.catch_up(documents)
    done.set()
    for thread in threads:
        thread.join()
    index.settle()
    index.catch_up(documents)
    assert failures == []
    assert index._view.base is not None and len(index) == 361


def _serve(folder, url, embedder, ready, go, results):
    from assistant.store.database import Database
    from assistant.store.documents import Documents

    documents = Documents(Database.open(url))
    index = VectorIndex(folder, embedder=embedder.digest, dimensions=embedder.dimensions)
    question = embedder.embed(["annual leave"])[0]
    ready.set()
    go.wait(30)
    for _ in range(30):
        index.catch_up(documents)
        index.settle()
        index.search(question, frozenset(range(50)), 5)
    found = {hit.id for hit in index.search(question, frozenset(range(50)), 1_000)}
    results.put((index.number, found))


def test_two_processes_share_generations(tmp_path, documents, put, embedder, open_index):
    """Both fold whenever they may, while documents come, go and change: neither ever misses one."""
    url = f"sqlite:///{tmp_path}/assistant.db"
    context = multiprocessing.get_context("spawn")
    ready, go, results = context.Event(), context.Event(), context.Queue()
    arguments = (tmp_path / "vectors", url, embedder, ready, go, results)
    child = context.Process(target=_serve, args=arguments)
    child.start()
    index = open_index()
    ready.wait(30)
    go.set()
    text = "\n".join(f"annual leave rule {number}" for number in range(100))
    for number in range(8):
        document = put(f"{number % 5}", text)
        if number % 3 == 0:
            documents.remove(document.id)
        index.catch_up(documents)
    index.settle()
    number, found = results.get(timeout=60)
    child.join()
    assert child.exitcode == 0
    assert number <= documents.change_number()
    index.catch_up(documents)
    living = {hit.id for hit in index.search(embedder.embed(["leave"])[0], frozenset(range(50)), 1_000)}
    assert len(living) == len(index) == 300
    if number == documents.change_number():
        assert found == living
    index.settle()
    assert len(list((tmp_path / "vectors").glob("generation-*"))) == 1


def test_a_chunk_that_is_relabelled_during_a_search_is_met_once(
    open_index, documents, put, embedder, all_classes, monkeypatch
):
    """It goes from the generation to the tail: whichever is searched first, it is in the other or in both."""
    document = put("a", "annual leave")
    put("b", "annual leave of managers", who="group:managers")
    index = open_index()
    index.catch_up(documents)
    index.save()
    index.catch_up(documents)
    view = index._view
    assert view.base is not None and len(view.tail) == 0
    before = view.base.best

    def relabelled(*arguments):
        found = before(*arguments)
        documents.relabel(document.id, Labels(source="files", principals=frozenset({"group:managers"})))
        index.catch_up(documents)
        return found

    monkeypatch.setattr(view.base, "best", relabelled)
    found = index.search(embedder.embed(["annual leave"])[0], all_classes() | frozenset(range(20)), 10)
    assert len(found) == len({hit.id for hit in found}) == 2


def test_rows_are_in_the_tail_before_they_leave_the_generation(open_index, documents, put, embedder):
    document = put("a", "annual leave")
    index = open_index()
    index.catch_up(documents)
    index.save()
    index.catch_up(documents)
    view, seen = index._view, []
    assert view.base is not None
    before = view.base.remove
    view.base.remove = lambda rows: (seen.append(len(view.tail)), before(rows))
    documents.relabel(document.id, Labels(source="files", principals=frozenset({"group:managers"})))
    index.catch_up(documents)
    assert seen == [1]
