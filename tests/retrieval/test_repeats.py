"""Copies of one document take one place among what is found, and only readable ones are named."""

import pytest

from assistant.retrieval.search import Search
from assistant.types import Labels

PAGE = "\n".join(
    f"Paragraph {number} of the travel policy tells how journeys of kind {number} are booked and refunded."
    for number in range(30)
)
LEAVE = "Annual leave is 25 days a year for everybody who works full time in this company."


@pytest.fixture
def found(documents, embedder, tmp_path, all_classes):
    search = Search(documents, embedder, tmp_path / "indexes")

    def found(question, permitted=None, limit=10):
        permitted = all_classes() if permitted is None else permitted
        ranked = search.found(question, permitted, limit=limit, candidates=50).ranked
        return [(each.passage.document.uri, each.also) for each in ranked if LEAVE in each.passage.chunk.text]

    return found


def test_the_newest_copy_takes_the_place_and_names_the_others(put, found):
    put("old", f"{LEAVE}\n{PAGE}")
    put("new", f"{LEAVE}\n{PAGE}\nOne more sentence.")
    put("other", f"{LEAVE}\nThis is another document that happens to say the same about leave.")
    assert sorted(found("annual leave full time")) == [("new", ("files:old",)), ("other", ())]


def test_the_reason_says_so(put, documents, embedder, tmp_path, all_classes):
    put("old", f"{LEAVE}\n{PAGE}")
    put("new", f"{LEAVE}\n{PAGE}")
    search = Search(documents, embedder, tmp_path / "indexes")
    best, *rest = search.found("annual leave full time", all_classes(), limit=5, candidates=50).ranked
    assert best.reason.endswith("; also in files:old")
    assert best.plain["also"] == ("files:old",)
    scores = [each.passage.score for each in (best, *rest)]
    assert scores == sorted(scores, reverse=True)


def test_a_copy_that_may_not_be_read_takes_no_place_and_is_not_named(put, found, documents):
    mine = put("mine", f"{LEAVE}\n{PAGE}").access_class.id
    hidden = put("hidden", f"{LEAVE}\n{PAGE}", who="group:managers")
    everyone = frozenset({mine})
    assert found("annual leave", everyone) == [("mine", ())]
    assert found("annual leave") == [("hidden", ("files:mine",))]
    documents.relabel(hidden.id, Labels(source="files", principals=frozenset({"everyone"})))
    assert found("annual leave", everyone) == [("hidden", ("files:mine",))]
    documents.remove(hidden.id)
    assert found("annual leave", everyone) == [("mine", ())]


def test_copies_that_say_other_numbers_both_stay(put, found):
    put("here", f"{LEAVE}\n{PAGE}")
    put("there", f"{LEAVE.replace('25', '28')}\n{PAGE}")
    put("again", f"{LEAVE}\n{PAGE}")
    ((uri, also),) = found("annual leave full time")
    assert {uri, *also} == {"again", "files:here"}


def test_a_copy_that_holds_another_word_of_the_question_stays(
    put, found, documents, embedder, tmp_path, all_classes
):
    put("berlin", f"{LEAVE} In Berlin it is so.\n{PAGE}")
    put("munich", f"{LEAVE} In Munich it is so.\n{PAGE}")
    assert len(found("annual leave in Munich")) == 2
    assert len(found("annual leave full time")) == 1
