"""Focus: the sentences of the passages that answer, in order, with the best one marked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.retrieval.focus import focus
from assistant.retrieval.words import content
from assistant.testing.embedder import FakeEmbedder
from assistant.types import AccessClass, Chunk, Document, Labels, Passage

EMBED = FakeEmbedder().embed


def passage(text: str, id: int = 1) -> Passage:
    labels = Labels(source="s", principals=frozenset({"everyone"}))
    document = Document(
        id=f"d{id}",
        source="s",
        uri=f"{id}.md",
        title="Handbook",
        media_type="text/markdown",
        content_digest="",
        size_bytes=1,
        access_class=AccessClass(id=1, labels=labels),
    )
    chunk = Chunk(id=id, document_id=document.id, ordinal=0, text=text, start=0, end=len(text))
    return Passage(chunk=chunk, document=document, score=1.0)


def rarity(question: str) -> dict[str, float]:
    return dict.fromkeys(content(question), 1.0)


QUESTION = "How long is the probation period?"
ANSWERING = "The probation period lasts 4 months."


def chosen(*texts: str, sentences: int = 1) -> tuple[Passage, ...]:
    given_passages = [passage(text, id) for id, text in enumerate(texts)]
    return focus(QUESTION, given_passages, sentences=sentences, embed=EMBED, rarity=rarity(QUESTION))


def test_only_the_answering_sentence_is_shown() -> None:
    found = chosen(f"Lockers are grey. {ANSWERING} Parking is free.", "The canteen opens at noon.")
    assert [p.shown for p in found] == [ANSWERING]
    start, end = found[0].lead or (0, 0)
    assert found[0].chunk.text[start:end].strip() == ANSWERING


def test_order_of_passages_and_sentences_is_kept() -> None:
    found = chosen("The probation. Fish.", f"Fish. {ANSWERING} Probation may end.", sentences=3)
    assert [p.document.id for p in found] == ["d0", "d1"]
    assert found[1].shown.splitlines() == [ANSWERING, "Probation may end."]
    assert found[0].lead is None


def test_a_table_row_is_a_sentence() -> None:
    rows = "Country: Norway | Period: 9 days\nCountry: Iceland | Probation period: 4 months\n"
    assert [p.shown for p in chosen(rows)] == ["Country: Iceland | Probation period: 4 months"]


def test_without_passages_there_is_nothing_to_show() -> None:
    assert chosen() == ()


@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=4), st.integers(1, 5))
def test_what_is_shown_stands_in_the_chunk(texts: list[str], sentences: int) -> None:
    found = chosen(*texts, sentences=sentences)
    spans = [(p, span) for p in found for span in p.focus]
    assert len(spans) <= sentences
    assert all(0 <= start < end <= len(p.chunk.text) for p, (start, end) in spans)
    marked = [p for p in found if p.lead]
    assert len(marked) == (1 if spans else 0)
    assert all(p.lead in p.focus for p in marked)


def test_words_decide_where_vectors_do_not() -> None:
    def flat(texts: object) -> np.ndarray:
        return np.ones((len(list(texts)), 1), dtype=np.float32)  # type: ignore[call-overload]

    passages = [passage(f"Nothing here. {ANSWERING}")]
    found = focus(QUESTION, passages, sentences=1, embed=flat, rarity=rarity(QUESTION))
    assert found[0].shown == ANSWERING


@pytest.mark.parametrize("text", ["", "   \n "])
def test_blank_passages_stay_whole(text: str) -> None:
    assert chosen(text)[0].focus == ()
