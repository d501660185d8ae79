"""Spelling: what a misspelt word is taken for, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.retrieval.spelling import beginning, correctable, meant
from assistant.retrieval.words import stems

WORDS = "parental vacation reimbursement probation approval manager travel Norway policies insurance".split()
TERMS = {stem: 1 for word in WORDS for stem in stems(word)}


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("paretnal", "parental"),
        ("vacatoin", "vacation"),
        ("reimbursment", "reimbursement"),
        ("reimbrusement", "reimbursement"),
        ("porbation", "probation"),
        ("aproval", "approval"),
        ("mangaer", "manager"),
        ("insurrance", "insurance"),
    ],
)
def test_a_misspelt_word_is_recognised(written, word):
    assert meant(written, TERMS) == stems(word)[0]


@pytest.mark.parametrize("written", ["zebra", "kubernetes", "krypton", "norman", "vat"])
def test_another_word_is_not_taken_for_one_of_ours(written):
    assert meant(written, TERMS) is None


def test_the_more_frequent_of_two_equally_near_is_meant():
    assert meant("paymend", {"payment": 2, "paymenk": 9}) == "paymenk"
    assert meant("paymend", {}) is None


@pytest.mark.parametrize(
    ("word", "may_be"),
    [("INV-2024", False), ("2024", False), ("v2beta", False), ("leav", False), ("paretnal", True)],
)
def test_identifiers_numbers_and_short_words_are_exact(word, may_be):
    assert correctable(word) is may_be


@given(st.sampled_from(WORDS), st.data())
@settings(deadline=None)
def test_swapping_two_letters_behind_the_beginning_is_found(word, data):
    word = word.lower()
    at = data.draw(st.integers(2, len(word) - 2))
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    assert beginning(swapped) == beginning(word)
    assert meant(swapped, {stems(word)[0]: 1}) == stems(word)[0]
