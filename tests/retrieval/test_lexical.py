import json
import multiprocessing
from contextlib import contextmanager

import pytest

from assistant.retrieval import lexical
from assistant.retrieval.lexical import LexicalIndex
from assistant.retrieval.words import content
from assistant.types import Labels


@pytest.fixture
def open_index(tmp_path, embedder):
    return lambda digest=None: LexicalIndex(tmp_path / "lexical", embedder=digest or embedder.digest)


def ids(index, question, permitted, limit=10):
    return [hit.id for hit in index.search(content(question), permitted, limit)]


def test_only_permitted_chunks_are_ranked(open_index, documents, put):
    mine = put("a", "annual leave is 25 days").access_class.id
    theirs = put("b", "annual leave is 25 days", who="group:managers").access_class.id
    index = open_index()
    index.catch_up(documents)

    assert len(ids(index, "annual leave", frozenset({mine}))) == 1
    assert len(ids(index, "annual leave", frozenset({mine, theirs}))) == 2
    assert ids(index, "annual leave", frozenset()) == []
    assert ids(index, "annual leave", frozenset({999})) == []
    assert ids(index, "zebra", frozenset({mine, theirs})) == []


@pytest.mark.parametrize("readable", [1, 30, 60])
def test_many_permitted_classes_find_what_a_filter_finds(open_index, documents, put, monkeypatch, readable):
    """Whether few, half or all of the best ranked are readable, the readable best come, in order."""
    classes = [put(f"{n}", "leave " * (1 + n % 7), who=f"group:{n}").access_class.id for n in range(60)]
    index = open_index()
    index.catch_up(documents)
    permitted = frozenset(classes[-readable:])
    expected = ids(index, "leave", permitted, 3)
    assert len(expected) == min(readable, 3)

    monkeypatch.setattr("assistant.retrieval.lexical._MANY_CLASSES", 0)

    assert ids(index, "leave", permitted, 3) == expected
    assert ids(index, "leave", frozenset({999}), 3) == []


def test_removals_that_were_pruned_have_it_rebuilt(open_index, documents, put, all_classes):
    document = put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    documents.remove(document.id)
    put("b", "annual leave is 30 days")
    documents.prune(keep=0)
    index.catch_up(documents)
    assert len(ids(index, "leave", all_classes())) == 1


def test_it_follows_changes_removals_and_new_labels(open_index, documents, put, all_classes):
    index = open_index()
    first = put("a", "annual leave is 25 days\nsick leave is paid")
    index.catch_up(documents)
    assert len(ids(index, "leave", all_classes())) == 2

    put("a", "annual leave is 30 days")
    index.catch_up(documents)
    assert len(ids(index, "leave", all_classes())) == 1
    assert ids(index, "sick", all_classes()) == []

    documents.relabel(first.id, Labels(source="files", principals=frozenset({"group:x"})))
    index.catch_up(documents)
    assert ids(index, "leave", frozenset({first.access_class.id})) == []
    assert len(ids(index, "leave", all_classes())) == 1

    documents.remove(first.id)
    index.catch_up(documents)
    assert ids(index, "leave", all_classes()) == []


def test_headings_count_and_numbers_are_found_whole(open_index, documents, put, all_classes):
    put("a", "it is due within 30 days", title="Invoice INV-2024-0031")
    put("b", "it is due within 30 days", title="Invoice INV-2024-0032")
    index = open_index()
    index.catch_up(documents)
    (found,) = ids(index, "inv-2024-0032", all_classes())
    assert documents.readable(frozenset({1})).chunks([found])[found][1].uri == "b"


@pytest.mark.parametrize(
    "text", ['class:1 OR text:"x', "+a -b (", "* ? ~2 [a TO b]", "\\", "\x00", "é" * 9999]
)
def test_questions_are_words_not_syntax(open_index, documents, put, all_classes, text):
    put("a", "annual leave is 25 days")
    index = open_index()
    index.catch_up(documents)
    assert ids(index, text, all_classes()) == []


def test_rare_words_weigh_more(open_index, documents, put):
    put("a", "leave leave days\nleave policy\nleave sabbatical")
    index = open_index()
    index.catch_up(documents)
    leave, sabbatical, unseen = content("leave sabbatical zebra")
    assert 0 < index.rarity(leave) < index.rarity(sabbatical) < index.rarity(unseen)


def test_a_second_opening_goes_on_from_the_first(open_index, documents, put, all_classes):
    put("a", "annual leave is 25 days")
    open_index().catch_up(documents)
    again = open_index()
    assert again.number == documents.change_number()
    again.catch_up(documents)
    assert len(ids(again, "leave", all_classes())) == 1


def test_two_openings_share_what_either_writes(open_index, documents, put, all_classes):
    first, second = open_index(), open_index()
    for number in range(4):
        put(f"{number}", "annual leave")
        (first if number % 2 else second).catch_up(documents)
        for index in (first, second):
            index.catch_up(documents)
            assert len(ids(index, "leave", all_classes())) == number + 1


@pytest.mark.parametrize("damage", ["state", "meta", "segment", "gone", "embedder", "ahead"])
def test_an_index_that_cannot_be_trusted_is_rebuilt(
    open_index, documents, put, all_classes, tmp_path, damage
):
    put("a", "annual leave is 25 days")
    open_index().catch_up(documents)
    folder = tmp_path / "lexical"
    state = json.loads((folder / "state.json").read_text())
    if damage == "state":
        (folder / "state.json").write_text("{")
    elif damage == "meta":
        (folder / "meta.json").write_text("{")
    elif damage == "segment":
        file = folder / next(name for name in state["files"] if name.endswith(".idx"))
        file.chmod(0o600)
        content_ = bytearray(file.read_bytes())
        content_[0] ^= 0xFF
        file.write_bytes(content_)
    elif damage == "gone":
        (folder / "state.json").unlink()
    elif damage == "ahead":
        (folder / "state.json").write_text(json.dumps({**state, "number": 1_000}))
    index = open_index("another" if damage == "embedder" else None)
    index.catch_up(documents)

    assert index.number == (0 if damage == "embedder" else documents.change_number())
    assert len(ids(index, "leave", all_classes())) == (0 if damage == "embedder" else 1)


def _catch_up_often(folder, url, embedder):
    from assistant.store.database import Database
    from assistant.store.documents import Documents

    documents = Documents(Database.open(url))
    index = LexicalIndex(folder, embedder=embedder)
    for _ in range(20):
        index.catch_up(documents)
    assert index.number <= documents.change_number()


def test_processes_share_one_index_on_disk(open_index, documents, put, tmp_path, embedder, all_classes):
    url = f"sqlite:///{tmp_path}/assistant.db"
    put("a", "annual leave")
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_catch_up_often, args=(tmp_path / "lexical", url, embedder.digest))
        for _ in range(2)
    ]
    for child in children:
        child.start()
    index = open_index()
    for number in range(10):
        put(f"{number}", "annual leave")
        index.catch_up(documents)
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert len(ids(index, "leave", all_classes(), 50)) == 11


def test_a_commit_that_a_crash_cut_off_is_done_again(open_index, documents, put, all_classes, tmp_path):
    """Its files are there, but not in the list of files; the next commit gives them the same names."""
    folder = tmp_path / "lexical"
    one, two = put("a", "annual leave"), put("b", "parental leave")
    open_index().catch_up(documents)
    before = {name: (folder / name).read_bytes() for name in ("meta.json", "state.json")}
    documents.remove(one.id)
    open_index().catch_up(documents)
    assert list(folder.glob("*.del"))
    for name, content_before in before.items():
        (folder / name).write_bytes(content_before)

    index = open_index()
    index.catch_up(documents)

    assert len(ids(index, "leave", all_classes())) == 1
    documents.remove(two.id)
    index.catch_up(documents)
    assert ids(index, "leave", all_classes()) == []


def test_scores_of_chosen_chunks_are_those_of_a_search(open_index, documents, put, all_classes):
    for number in range(5):
        put(f"{number}", f"annual leave {'leave ' * number}of kind {number}", title="Leave")
    put("z", "zebra")
    index = open_index()
    index.catch_up(documents)
    words = content("annual leave kind")
    hits = {hit.id: hit.score for hit in index.search(words, all_classes(), 10)}
    some = list(hits)[1:4]
    assert index.scores(words, [*some, 6]) == {id: pytest.approx(hits[id]) for id in some}
    assert index.scores(words, []) == index.scores([], some) == {}


def test_a_word_asked_twice_counts_twice(open_index, documents, put, all_classes):
    put("a", "leave")
    put("b", "travel")
    index = open_index()
    index.catch_up(documents)
    first, second = index.search(["leav", "travel", "travel"], all_classes(), 10)
    assert first.score == pytest.approx(2 * second.score)


def test_the_vocabulary_is_that_of_permitted_chunks(open_index, documents, put):
    mine = put("a", "annual leave").access_class.id
    put("b", "annual anniversary", who="group:managers")
    index = open_index()
    index.catch_up(documents)
    assert index.vocabulary("ann", frozenset({mine})) == {"annual": 1}
    assert index.vocabulary("ann", frozenset()) == {}


def test_a_change_that_comes_while_waiting_for_the_lock_is_not_another_history(
    open_index, documents, put, monkeypatch
):
    """Who held the lock before us may have followed further than the database was when we began to wait."""
    put("a", "annual leave")
    late, other = open_index(), open_index()
    late.catch_up(documents)
    put("b", "annual leave of managers")
    held = lexical.locked

    @contextmanager
    def waited(file, wait_s=0.0):
        monkeypatch.setattr(lexical, "locked", held)
        put("c", "annual leave of directors")
        other.catch_up(documents)
        with held(file, wait_s) as mine:
            yield mine

    monkeypatch.setattr(lexical, "locked", waited)
    monkeypatch.setattr(late, "_create", lambda: pytest.fail("built anew"))
    late.catch_up(documents)
    assert len(late.search(["leav"], frozenset(range(20)), 10)) == 3


def test_what_is_left_to_its_successor_is_not_said_to_be_followed(open_index, documents, put, monkeypatch):
    """A removal's entry tells how far an index followed."""
    put("a", "annual leave")
    index = open_index()
    index.catch_up(documents)
    followed = index.number
    monkeypatch.setattr(documents, "embedded_by", lambda known: "another")
    open_index("another").catch_up(documents)
    put("b", "annual leave of managers")
    index.catch_up(documents)
    assert index.number == followed < documents.change_number()
    monkeypatch.setattr(index, "_follow", lambda _: pytest.fail("looked again though nothing changed"))
    index.catch_up(documents)
