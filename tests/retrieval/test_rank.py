"""The order of passages: repeatable, and what a document repeats does not crowd the rest out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.retrieval.rank import Ranked, best_first, places, spread
from assistant.types import AccessClass, Chunk, Document, Labels, Passage

LABELS = Labels(source="s", principals=frozenset({"everyone"}))


def ranked(id: int, document: int, score: float) -> Ranked:
    own = Document(
        id=f"d{document}",
        source="s",
        uri=f"{document}.md",
        title="T",
        media_type="text/plain",
        content_digest="",
        size_bytes=1,
        access_class=AccessClass(id=1, labels=LABELS),
    )
    chunk = Chunk(id=id, document_id=own.id, ordinal=0, text="x", start=0, end=1)
    return Ranked(passage=Passage(chunk=chunk, document=own, score=score), dense=1, lexical=None)


def test_places_are_counted_from_one_and_repeat():
    assert places({7: 0.5, 3: 0.9, 5: 0.5}) == {3: 1, 5: 2, 7: 3}
    assert places({}) == {}


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from(["x", "y", "xy"])),
    max_size=20,
)
DIRECTIONS = {"x": [1.0, 0.0], "y": [0.0, 1.0], "xy": [0.6, 0.8]}


def known(directions):
    return range(len(directions)), np.array([DIRECTIONS[each] for each in directions], np.float32).reshape(
        -1, 2
    )


@given(ROWS, st.integers(1, 8))
@settings(deadline=None)
def test_every_passage_stays_and_only_what_repeats_loses_its_place(rows, wanted):
    before = best_first(ranked(id, document, score) for id, (document, score, _) in enumerate(rows))
    after = spread(before, known([row[2] for row in rows]), wanted=wanted)
    assert sorted(each.passage.chunk.id for each in after) == list(range(len(rows)))
    if len({document for document, _, _ in rows}) == len(rows):
        assert after == before
    for number, each in enumerate(after):
        if each.behind:
            assert "repeats" in each.reason
            earlier = [other.passage.document.id for other in after[:number]]
            assert each.passage.document.id in earlier


def test_what_says_something_new_of_a_document_comes_before_what_repeats_it():
    before = [ranked(0, 1, 0.50), ranked(1, 1, 0.49), ranked(2, 1, 0.48), ranked(3, 2, 0.47)]
    after = spread(before, known(["x", "x", "y", "x"]), wanted=4)
    assert [each.passage.chunk.id for each in after] == [0, 2, 3, 1]
    assert [bool(each.behind) for each in after] == [False, False, False, True]


def test_one_document_may_take_all_places_where_it_says_something_new_each_time():
    before = [ranked(0, 1, 0.50), ranked(1, 1, 0.49), ranked(2, 2, 0.45)]
    assert spread(before, known(["x", "y", "x"]), wanted=2) == before
