"""The parts of the search benchmark in small, over made-up texts: they run, and what they say adds up."""

import numpy as np
import pytest

from assistant.testing.embedder import FakeEmbedder
from benchmarks.searching import start, vectors, whole
from benchmarks.searching.collection import Collection, topics

WORDS = ("leave", "travel", "invoice", "server", "contract", "train", "budget", "policy", "printer", "visa")


@pytest.fixture(scope="module")
def collection():
    generator = np.random.default_rng(0)
    texts = tuple(" ".join(generator.choice(WORDS, size=12)) + f" {number}" for number in range(400))
    questions = tuple(f"{first} {second}" for first in WORDS[:3] for second in WORDS[3:6])
    embedder = FakeEmbedder()
    embedded = embedder.embed(texts)
    return Collection(
        texts=texts,
        vectors=embedded,
        topics=topics(embedded),
        questions=questions,
        asked=embedder.embed(questions),
        embedder=embedder,
    )


def test_the_vector_part_finds_what_is_permitted(collection, tmp_path):
    figures = {figure.figure: figure for figure in vectors.run(collection, tmp_path, 3_000)}
    recalls = [figure for name, figure in figures.items() if name.startswith("recall")]
    assert len(recalls) == 2 * len(vectors.SHARES) - 1
    assert all(figure.holds for figure in recalls)


def test_the_whole_part_reports_both_sides(collection, tmp_path):
    figures = {figure.figure: figure.value for figure in whole.run(collection, tmp_path, 400)}
    assert figures["search_p50"] > 0 and figures["embedding_and_flat_p50"] > 0
    assert sum(name.startswith("lexical") for name in figures) == 2 * len(whole.PERMITTED)


def test_starting_is_timed_in_processes_of_their_own(collection, tmp_path):
    figures = {figure.figure: figure for figure in start.run(collection, tmp_path, 400)}
    assert figures["start_from_sql_400"].holds and figures["start_from_disk_400"].holds
