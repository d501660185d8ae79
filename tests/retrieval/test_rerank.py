"""A cross-encoder, loaded for real from files as sentence-transformers keeps them."""

import hashlib

import pytest
import torch
from transformers import BertForSequenceClassification

from assistant.errors import ModelError
from assistant.retrieval.rank import Ranked
from assistant.retrieval.rerank import Reranker
from assistant.retrieval.search import Search
from assistant.testing.cross_encoder import tiny_cross_encoder
from assistant.types import AccessClass, Chunk, Document, Labels, Passage


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


def ranked(number, text):
    labels = Labels(source="s", principals=frozenset({"everyone"}))
    document = Document(
        id=str(number),
        source="s",
        uri=f"{number}.md",
        title="train",
        media_type="m",
        content_digest="",
        size_bytes=1,
        access_class=AccessClass(id=1, labels=labels),
    )
    chunk = Chunk(id=number, document_id=str(number), ordinal=0, text=text, start=0, end=len(text))
    passage = Passage(chunk=chunk, document=document, score=1 - number / 100)
    return Ranked(passage=passage, dense=number, lexical=None)


def test_scores_are_those_of_the_model_one_pair_at_a_time(folder):
    reranker = Reranker.load(folder)
    texts = ["annual leave is 25 days", "travel by train", "leave " * 200]
    together = reranker.scores("annual leave ?", texts)
    assert ((together > 0) & (together < 1)).all() and len({*together}) == 3
    model = BertForSequenceClassification.from_pretrained(folder)
    model.train(False)
    ids = torch.tensor([[2, 4, 5, 12, 3, 4, 5, 6, 7, 8, 3]])
    kinds = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]])
    with torch.inference_mode():
        alone = torch.sigmoid(model(input_ids=ids, token_type_ids=kinds).logits)[0, 0]
    assert together[0] == pytest.approx(float(alone), abs=1e-5)
    for text, score in zip(texts, together, strict=True):
        assert reranker.scores("annual leave ?", [text])[0] == pytest.approx(score, abs=1e-5)


def test_the_first_are_ordered_anew_and_stay_first(folder):
    reranker = Reranker.load(folder)
    texts = ["annual leave is 25 days", "travel by train", "leave by train", "days"]
    before = [ranked(number, text) for number, text in enumerate(texts)]
    after = reranker.reordered("annual leave ?", before, count=3)
    scores = reranker.scores("annual leave ?", [f"train\n{text}" for text in texts[:3]])
    best_first = sorted(range(3), key=lambda place: -scores[place])
    assert [each.passage.chunk.id for each in after] == [*best_first, 3]
    assert [each.passage.score for each in after] == sorted((e.passage.score for e in after), reverse=True)
    assert after[0].reread == pytest.approx(scores.max()) and after[3].reread is None
    assert after[0].reason.startswith(f"cross-encoder {scores.max():.2f}; meaning ")
    assert reranker.reordered("annual leave ?", [], count=3) == []


def test_search_hands_it_the_permitted_candidates_only(folder, documents, embedder, put, tmp_path):
    mine = put("a", "annual leave is 25 days").access_class.id
    put("b", "annual leave is 25 days by train", who="group:managers")
    read = []
    reranker = Reranker.load(folder)

    def reordered(question, candidates):
        read.extend(each.passage.document.uri for each in candidates)
        return reranker.reordered(question, candidates, count=5)

    search = Search(documents, embedder, tmp_path / "indexes", reordered=reordered)
    (found,) = search.found("annual leave", frozenset({mine}), limit=5, candidates=9).ranked
    assert read == ["a"] and found.plain["reranker_score"] == found.reread == found.passage.score - 1


def test_it_has_an_identity_of_weights_tokenizer_and_length(folder):
    digests = {Reranker.load(folder).digest, Reranker.load(folder, max_tokens=20).digest}
    assert len(digests) == 2 and all(len(digest) == len(hashlib.sha256().hexdigest()) for digest in digests)
    assert Reranker.load(folder).digest in digests


def test_a_model_of_a_yes_and_a_no_gives_the_chance_of_yes(tmp_path):
    scores = Reranker.load(tiny_cross_encoder(tmp_path, labels=2)).scores("leave", ["annual leave", "train"])
    assert ((scores > 0) & (scores < 1)).all()


def test_what_is_no_cross_encoder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="3 scores"):
        Reranker.load(tiny_cross_encoder(tmp_path / "three", labels=3))
    with pytest.raises(ModelError, match="no usable cross-encoder"):
        Reranker.load(tmp_path)
