"""The order of passages: repeatable, and no document crowds the others out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.retrieval.rank import CHUNKS_PER_DOCUMENT, Ranked, best_first, places, spread
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


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3])), max_size=20))
@settings(deadline=None)
def test_every_passage_stays_and_what_crowds_comes_behind(rows):
    before = best_first(ranked(id, document, score) for id, (document, score) in enumerate(rows))
    after = spread(before)
    assert sorted(each.passage.chunk.id for each in after) == list(range(len(rows)))
    behind = [bool(each.behind) for each in after]
    assert behind == sorted(behind)
    for document in {document for document, _ in rows}:
        own = [each for each in after if each.passage.document.id == f"d{document}"]
        assert [each.passage.chunk.id for each in own] == [
            each.passage.chunk.id for each in before if each.passage.document.id == f"d{document}"
        ]
        assert sum(not each.behind for each in own) == min(len(own), CHUNKS_PER_DOCUMENT)
        assert all("of its document" in each.reason for each in own if each.behind)
