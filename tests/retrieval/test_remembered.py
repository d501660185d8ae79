"""A question is embedded once on its way, whoever asks and in however many threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from assistant.retrieval.remembered import KEPT, Remembered
from assistant.testing.embedder import FakeEmbedder


class Counting(FakeEmbedder):
    def __init__(self):
        super().__init__()
        self.embedded = []

    def embed(self, texts, proceed=lambda: None):
        self.embedded += texts
        return super().embed(texts, proceed)


@pytest.fixture
def counting():
    return Counting()


def test_search_router_and_focus_get_the_vector_of_one_embedding(counting):
    embedder = Remembered(counting)
    (first,) = embedder.embed(["How long is leave?"])
    follow_up = embedder.embed(["How long is leave?", "Leave. How long is leave?"])
    sentences = embedder.embed(["How long is leave?", "Leave is 18 weeks.", "It is paid.", "It is paid."])
    expected = ["How long is leave?", "Leave. How long is leave?", "Leave is 18 weeks.", "It is paid."]
    assert counting.embedded == expected
    for rows in (follow_up, sentences):
        np.testing.assert_array_equal(rows[0], first)
    np.testing.assert_array_equal(sentences, FakeEmbedder().embed([expected[0], *expected[2:], expected[3]]))
    assert embedder.embed([]).shape == (0, FakeEmbedder.dimensions)
    assert (embedder.digest, embedder.count_tokens("two words")) == (counting.digest, 2)


def test_what_is_kept_is_bounded_and_not_what_came_in_bulk(counting):
    embedder = Remembered(counting)
    embedder.embed(["a", "b", "c"])
    for number in range(KEPT):
        embedder.embed([str(number)])
    embedder.embed(["0"])  # asked again: "1" is the oldest now
    embedder.embed(["new"])
    counting.embedded.clear()
    for text in ("a", "0", "1"):
        embedder.embed([text])
    assert counting.embedded == ["a", "1"]


def test_what_was_given_out_may_be_changed(counting):
    embedder = Remembered(counting)
    embedder.embed(["a"])[:] = 0
    assert np.linalg.norm(embedder.embed(["a"])) == pytest.approx(1)


def test_several_threads_get_their_own_questions_vectors(counting):
    embedder = Remembered(counting)
    questions = [f"question {number % 100}" for number in range(1000)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda text: embedder.embed([text])[0], questions))
    np.testing.assert_array_equal(found, FakeEmbedder().embed(questions))
