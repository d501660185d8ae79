"""Passages with the text around them: exact spans, one document, within a budget, nothing unreadable."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.retrieval.joined import joined
from assistant.retrieval.search import Search
from assistant.types import AccessClass, Chunk, Document, Labels, Passage

WORDS = 10_000
DOCUMENT = Document(
    id="d",
    source="files",
    uri="d",
    title="d",
    media_type="text/plain",
    content_digest="0",
    size_bytes=1,
    access_class=AccessClass(id=1, labels=Labels(source="files", principals=frozenset({"everyone"}))),
)


def count(text):
    return len(text.split())


@pytest.fixture
def search(documents, embedder, tmp_path):
    return Search(documents, embedder, tmp_path / "indexes")


@pytest.fixture
def shown(search, all_classes):
    def shown(question, *, permitted=None, limit=1, budget=WORDS):
        permitted = all_classes() if permitted is None else permitted
        found = search.search(question, permitted, limit=limit, candidates=50)
        return search.joined(found, permitted, budget=budget, count=count)

    return shown


def test_a_passage_brings_along_what_stands_before_and_after_it(shown, put, documents):
    stored = put("leave", "who\nasks\n\nannual leave is 25 days\n\nask Ana\nearly")
    [passage] = shown("annual leave")
    assert passage.chunk.text == "asks\n\nannual leave is 25 days\n\nask Ana"
    assert documents.text(stored.id)[passage.chunk.start : passage.chunk.end] == passage.chunk.text
    assert [part.text for part in passage.parts] == ["asks", "annual leave is 25 days", "ask Ana"]


def test_passages_that_touch_become_one_at_the_place_of_the_better(shown, put):
    put("leave", "annual leave is 25 days\nannual leave is asked for early")
    put("other", "leave the building")
    first, second = shown("annual leave days", limit=3)
    assert first.chunk.text == "annual leave is 25 days\nannual leave is asked for early"
    assert second.document.uri == "other"


def test_neighbours_by_number_of_another_document_are_not_joined(shown, put):
    put("before", "the office is closed")
    put("leave", "annual leave is 25 days")
    put("after", "the canteen is open")
    [passage] = shown("annual leave")
    assert passage.chunk.text == "annual leave is 25 days" and passage.parts == ()


def test_what_finds_no_room_stays_out_and_the_best_is_always_there(shown, put):
    put("leave", "one two three four five\nannual leave is 25 days\nsix seven eight nine ten")
    [passage] = shown("annual leave", budget=5 + 1 + 6 + 5 + 6)
    assert passage.chunk.text == "annual leave is 25 days\nsix seven eight nine ten"
    [passage] = shown("annual leave", budget=1)
    assert passage.chunk.text == "annual leave is 25 days"


def test_neighbours_by_number_of_another_document_cost_nothing(shown, put):
    for word in ("one", "two", "three", "four", "five"):
        put(word, f"annual leave {word} a b c d e f")
    assert len(shown("annual leave", limit=5, budget=5 * (9 + 1 + 6))) == 5


@pytest.mark.parametrize(("middle", "parts"), [("30 days", 3), ("99 days", 0)])
def test_a_passage_whose_middle_was_written_anew_stays_alone(middle, parts):
    written, chunks = f"leave\n{middle}\nasked for", []
    for id, (start, text) in enumerate([(0, "leave"), (6, "30 days"), (14, "asked for")]):
        place = {"ordinal": id, "start": start, "end": start + len(text)}
        chunks.append(Chunk(id=id, document_id="d", text=text, **place))
    hits = [Passage(chunk=chunk, document=DOCUMENT, score=1.0) for chunk in chunks]
    found = joined(hits, {}, text=lambda *_: written, budget=WORDS, count=count)
    assert len(found[0].parts) == parts


def test_a_document_that_goes_away_leaves_the_passage_alone(search, put, documents, all_classes):
    stored = put("leave", "who asks\nannual leave is 25 days")
    permitted = all_classes()
    found = search.search("annual leave", permitted, limit=1, candidates=50)
    documents.remove(stored.id)
    assert search.joined(found, permitted, budget=WORDS, count=count) == tuple(found)


def test_another_text_under_the_same_offsets_is_not_taken_for_the_old_one(search, put, all_classes):
    put("leave", "who asks\nannual leave is 25 days")
    [hit] = search.search("annual leave", all_classes(), limit=1, candidates=50)
    before = search.search("who asks", all_classes(), limit=1, candidates=50)[0]
    near = {before.chunk.id: (before.chunk, before.document)}
    [passage] = joined([hit], near, text=lambda *_: "Something else.", budget=WORDS, count=count)
    assert passage == hit


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_passage_is_a_span_that_holds_a_hit_and_all_keep_to_the_budget(data):
    lines = data.draw(
        st.lists(st.text("ab ", min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=9)
    )
    text, chunks, start = "\n".join(lines), [], 0
    for ordinal, line in enumerate(lines):
        place = {"ordinal": ordinal, "page": ordinal, "start": start, "end": start + len(line)}
        chunks.append(Chunk(id=ordinal + 1, document_id="d", text=line, **place))
        start += len(line) + 1
    chosen = data.draw(st.lists(st.sampled_from(chunks), min_size=1, unique=True))
    hits = [Passage(chunk=chunk, document=DOCUMENT, score=1.0) for chunk in chosen]
    budget = data.draw(st.integers(1, 120))
    found = joined(
        hits,
        {chunk.id: (chunk, DOCUMENT) for chunk in chunks},
        text=lambda _, start, end: text[start:end],
        budget=budget,
        count=count,
    )
    assert chosen[0].id in {part.id for each in found for part in each.parts or (each.chunk,)}
    for passage in found:
        assert text[passage.chunk.start : passage.chunk.end] == passage.chunk.text
        assert {part.id for part in passage.parts or (passage.chunk,)} & {chunk.id for chunk in chosen}
        for part in passage.parts:
            assert passage.page_at(part.start - passage.chunk.start) == part.page
    if len(found) > 1:
        assert sum(count(each.chunk.text) for each in found) <= budget


def test_a_part_of_a_text_that_may_not_be_read_is_not_there(put, documents, all_classes):
    stored = put("leave", "annual leave", who="group:board")
    assert documents.readable(all_classes()).span(stored.id, 7, 12) == "leave"
    assert documents.readable(frozenset()).span(stored.id, 7, 12) is None
