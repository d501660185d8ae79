"""The measures and other sides of the retrieval and chunking benchmarks."""

from __future__ import annotations

import json

import pytest

from assistant.testing.embedder import FakeEmbedder
from benchmarks import beir, chunking
from benchmarks.cached import CachedEmbedder
from benchmarks.retrieval import misspelt
from benchmarks.shelf import Shelf
from benchmarks.splitters import fixed, recursive

count = FakeEmbedder().count_tokens
TEXT = "First one. Second one.\n\nThird is here\nand goes on, and on, and on, until it ends.\n\nFourth."


def test_gain_is_one_for_the_ideal_order_and_less_below_it():
    grades = {"a": 2, "b": 1}
    assert beir.ndcg(["a", "b", "x"], grades) == pytest.approx(1)
    assert 0 < beir.ndcg(["x", "b", "a"], grades) < beir.ndcg(["b", "a"], grades) < 1
    assert beir.ndcg(["x"], grades) == 0


def test_a_collection_is_read_without_queries_that_nobody_judged(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t0\n")
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d1", "title": "T", "text": "x"}) + "\n")
    queries = [json.dumps({"_id": id, "text": id}) for id in ("q1", "q2")]
    (tmp_path / "queries.jsonl").write_text("\n".join(queries))
    read = beir.read(tmp_path)
    assert read.queries == {"q1": "q1"} and read.relevant == {"q1": {"d1": 1}}
    assert read.documents == {"d1": ("T", "x")}


@pytest.mark.parametrize("cut", [recursive, fixed])
def test_other_cutters_lose_nothing_and_keep_to_their_size(cut):
    chunks = cut(TEXT, size=8, count=count)
    assert "".join(chunk.text for chunk in chunks).split() == TEXT.split()
    assert all(count(chunk.text) <= 8 for chunk in chunks)
    assert all(TEXT[chunk.start : chunk.end] == chunk.text for chunk in chunks)


def test_one_word_is_misspelt_always_the_same_way():
    question = "How long is parental leave?"
    assert misspelt(question) == misspelt(question) != question
    assert misspelt(question).startswith("How long is pa") and misspelt(question).endswith(" leave?")
    assert misspelt("What is it?") == "What is it?"


def test_kept_vectors_are_those_of_the_embedder(tmp_path):
    texts = ["one", "two", "one"]
    first = CachedEmbedder(FakeEmbedder(), tmp_path)
    assert (first.embed(texts) == FakeEmbedder().embed(texts)).all()
    again = CachedEmbedder(FakeEmbedder(), tmp_path)
    assert (again.embed(["two"]) == first.embed(["two"])).all()
    assert len(list(tmp_path.glob("*/*.npz"))) == 1


def test_a_shelf_finds_what_was_put_on_it():
    with Shelf(CachedEmbedder(FakeEmbedder(), None)) as shelf:
        shelf.put_whole({"a": ("Leave", "annual leave is 25 days"), "b": ("Travel", "trains are booked")})
        shelf.put("c", "", TEXT, recursive(TEXT, size=8, count=count))
        assert [p.document.uri for p in shelf.find("annual leave", 1).passages] == ["a"]
        assert "Fourth." in shelf.find("fourth", 1).passages[0].chunk.text


def test_paragraphs_are_blocks_at_their_places():
    extracted = chunking._structured(TEXT)
    found = [extracted.text[block.start : block.end] for block in extracted.blocks]
    assert found == [part.strip() for part in TEXT.split("\n\n")]
