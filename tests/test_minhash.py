"""Sketches tell how alike texts are, whatever their layout and language, and bands find the like ones."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant import minhash

WORDS = [
    f"{a}{b}{c}" for a in ("ka", "ro", "mi", "ste") for b in ("l", "nd", "t") for c in ("a", "en", "o", "ig")
]


def text(words, seed):
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def changed(original, share, seed=0):
    draw, words = random.Random(seed), original.split()
    for place in draw.sample(range(len(words)), round(share * len(words))):
        words[place] = f"other{draw.randrange(10**6)}"
    return " ".join(words)


def exact(one, other):
    def runs(text):
        data = "".join(text.split()).encode()
        return {data[start : start + 16] for start in range(len(data) - 15)}

    return len(runs(one) & runs(other)) / len(runs(one) | runs(other))


@pytest.mark.parametrize(
    "same",
    [
        "Annual leave: 25 days a year.",
        "ANNUAL LEAVE — 25 days;\n\na year",
        "| annual | leave |\n| 25 days | a year |",
    ],
)
def test_layout_case_and_punctuation_do_not_count(same):
    assert minhash.alike(minhash.sketch("annual leave 25 days a year"), minhash.sketch(same)) == 1


@pytest.mark.parametrize("words", [40, 400, 6000])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_the_estimate_is_near_what_is_so(words, share):
    one = text(words, words)
    other = changed(one, share)
    assert minhash.alike(minhash.sketch(one), minhash.sketch(other)) == pytest.approx(
        exact(one, other), abs=0.12
    )


def test_what_has_nothing_in_common_is_not_alike():
    assert minhash.alike(minhash.sketch(text(300, 1)), minhash.sketch("Ganz anderes über Zölle " * 9)) == 0


def test_languages_without_spaces_are_told_apart():
    one = "年次有給休暇は一年に二十五日です。申請は書式十二で行います。" * 3
    assert minhash.alike(minhash.sketch(one), minhash.sketch(one + "承認は課長が行います。")) > 0.6
    assert (
        minhash.alike(minhash.sketch(one), minhash.sketch("旅費の精算は月末までに経理部へ提出してください。"))
        == 0
    )


def test_a_text_that_repeats_itself_has_a_whole_sketch():
    page = "The same footer stands on every page of this very long document. " * 400
    one = minhash.sketch(page + text(2000, 5))
    assert len(one) == minhash.SIZE == len(np.unique(one))
    assert minhash.alike(one, minhash.sketch(text(2000, 5) + page)) > 0.9


def test_those_that_are_alike_share_a_band_and_others_hardly():
    like = unlike = 0
    for seed in range(60):
        one = text(200, seed)
        own = set(minhash.bands(minhash.sketch(one)))
        like += bool(own & set(minhash.bands(minhash.sketch(changed(one, 0.02, seed)))))
        unlike += bool(own & set(minhash.bands(minhash.sketch(text(200, seed + 1000)))))
    assert like == 60 and unlike == 0


@pytest.mark.parametrize("nothing", ["", "  \n", "— … !", "\ud800"])
def test_a_text_without_letters_is_like_none(nothing):
    sketched = minhash.sketch(nothing)
    if nothing != "\ud800":
        assert len(sketched) == 0 and minhash.bands(sketched) == []
        assert minhash.alike(sketched, sketched) == 0


@given(st.text(max_size=200), st.text(max_size=200))
def test_likeness_is_a_share_the_same_both_ways_and_survives_packing(one, other):
    a, b = minhash.sketch(one), minhash.sketch(other)
    assert 0 <= minhash.alike(a, b) == minhash.alike(b, a) <= 1
    assert (minhash.unpack(minhash.pack(a)) == a).all()
    assert all(0 <= band < 2**63 for band in minhash.bands(a))
    if len(a):
        assert minhash.alike(a, minhash.sketch(one.casefold())) == 1
