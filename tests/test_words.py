"""Words, figures, sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.words import content_words, figures, measures, numbers, sentence_spans, without_markers

TEXTS = st.text(alphabet='ab A.!?)"[1]2\n*-e.g: 4,5', max_size=80) | st.text(max_size=60)


def sentences(text):
    return [text[start:end] for start, end in sentence_spans(text)]


@given(TEXTS)
def test_spans_cover_the_text_exactly(text):
    assert "".join(sentences(text)) == text
    assert all(start < end for start, end in sentence_spans(text))


@given(TEXTS, st.data())
def test_a_sentence_that_another_follows_is_not_changed_by_what_comes_later(text, data):
    """What a gate may release early is what it would release of the whole."""
    cut = data.draw(st.integers(0, len(text)))
    early = sentences(text[:cut])[:-1]
    assert sentences(text)[: len(early)] == early


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It lasts 4 months. It ends.", 2),
        ("See e.g. the guide. It ends!", 2),
        ("It is approx. 5 km, no. 7 on p. 3 of art. 5. Then it ends.", 2),
        ("Dr. Smith and J. Miller agree. So do we.", 2),
        ("Open until 5 p.m. on Fridays. Closed on Sundays.", 2),
        ("Edit settings.py and v1.2.3 first. Then run it.", 2),
        ("1. Ask your manager.\n2. Wait 4 days.", 2),
        ("It takes 4. Then it ends.", 2),
        ("He said “stop.” Then he left.", 2),
        ("It lasts 4 months. [1] It ends. [2][3]", 2),
        ("It lasts 4 months.[1] It ends.", 2),
        ("One line\nanother\n\n\nthird", 3),
        ("Really?! Yes… maybe.", 2),
        ("", 0),
        ("   ", 1),
    ],
)
def test_sentences(text, count):
    assert len(sentences(text)) == count, sentences(text)


def test_citations_stay_with_their_sentence():
    assert sentences("It lasts 4 months. [1] It ends.") == ["It lasts 4 months. [1] ", "It ends."]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("EUR 1,250.50 on 2026-01-05 at 09:30", {"1250.50", "2026-01-05", "09:30"}),
        ("INV-2024-0031 and TW-7", {"inv-2024-0031", "tw-7"}),
        ("a 4-month period, 24-hour support", {"4", "24"}),
        ("three months, twenty-four hours, two-week sprints", {"3", "24", "2"}),
        ("fifty per cent of ten working days", {"50", "10"}),
        ("two of them, one of us, four-legged friends, someone", set()),
        ("cited [12] and [3]", set()),
        ("1,234,567 people", {"1234567"}),
        ("Zones 3/4", {"3/4"}),
    ],
)
def test_figures(text, found):
    assert figures(text) == found


def test_a_text_bears_out_numbers_however_written():
    assert {"3", "4", "21"} <= numbers("Three signatures, 4 copies, twenty-one pages")
    assert figures("It takes three months.") <= numbers("It takes 3 months.")
    assert figures("It takes 3 months.") <= numbers("Three months it takes.")


def test_markers_are_no_figures_where_they_are_taken_off():
    assert without_markers("1. Ask.\n 2) Wait.\n(a) Go.\n- Stop.") == "Ask.\nWait.\nGo.\nStop."


def test_content_words_are_stems_without_citations_and_stop_words():
    assert content_words("The managers’ approvals [1] are requested") == content_words(
        "manager approval request"
    )
    assert content_words("What is the of") == []


def test_spans_of_time_keep_their_unit() -> None:
    text = "Up to 25 working days [1], a two-week notice, 18 weeks; EUR 40 a day."
    assert measures(text) == {("25", "day"), ("2", "week"), ("18", "week")}
