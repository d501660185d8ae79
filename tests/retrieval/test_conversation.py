"""Follow-up questions: what they take over, and what they do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.retrieval.conversation import leans, standalone
from assistant.retrieval.words import content

LEAVE = "How long is parental leave in Norway?"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("And in Denmark?", "How long is parental leave in Denmark?"),
        ("and for managers?", f"{LEAVE} and for managers?"),
        ("What about Denmark?", "How long is parental leave in Denmark?"),
        ("Is it paid?", f"{LEAVE} Is it paid?"),
        ("Who has to approve that?", f"{LEAVE} Who has to approve that?"),
        ("Why?", f"{LEAVE} Why?"),
        ("And how much of it can be transferred?", f"{LEAVE} And how much of it can be transferred?"),
    ],
)
def test_a_follow_up_takes_over_what_it_leans_on(question, expected):
    assert standalone(question, [LEAVE]) == expected


@pytest.mark.parametrize(
    "question",
    [
        "How do I book a train?",
        "Is it allowed to bring a dog to the office on Fridays?",
        "Travel budget 2025",
        "Who approves invoices that exceed 5,000 EUR?",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question):
    assert standalone(question, [LEAVE]) == question
    assert not leans(question)


def test_a_chain_is_traced_to_its_topic():
    assert (
        standalone("And in Finland?", [LEAVE, "And in Denmark?"]) == "How long is parental leave in Finland?"
    )
    assert standalone("Is it paid?", [LEAVE, "What about Denmark?"]).startswith(
        "How long is parental leave in Denmark?"
    )


def test_a_new_topic_ends_the_chain():
    new = "How do I book a hotel in Oslo?"
    assert standalone("Who approves it?", [LEAVE, new]) == f"{new} Who approves it?"


def test_without_a_conversation_a_question_stays_as_it_is():
    assert standalone("And in Denmark?", []) == "And in Denmark?"
    assert standalone("And in Denmark?", ["", "  "]) == "And in Denmark?"


def test_a_long_earlier_turn_does_not_drown_the_question():
    found = standalone("Is it paid?", ["word " * 5000])
    assert found.endswith("Is it paid?") and len(found.split()) < 100


TURNS = st.lists(
    st.text(max_size=60) | st.sampled_from([LEAVE, "And in Denmark?", "Is it paid?", "Why?"]), max_size=6
)


@given(st.text(max_size=60) | st.sampled_from(["And in Oslo?", "What about 2024?", "for whom?"]), TURNS)
@settings(deadline=None)
def test_no_word_is_lost_or_invented(question, earlier):
    found = set(content(standalone(question, earlier)))
    own = {stem for stem in content(question)}
    asked = {stem for turn in earlier for stem in content(turn)}
    said = set(content(" ".join([question, *earlier])))
    assert found <= said | own | asked
    if leans(question) is False:
        assert standalone(question, earlier) == question
