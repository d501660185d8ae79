"""The padding-free forward pass gives what transformers gives, for every shape that it claims to know."""

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from assistant.retrieval.encoder import Packed, Padded, bert_shaped

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
TEXTS = [[5, 6, 7], [8, 9, 10], [2, *range(10, 40), 3], [4]]


def saved(model, folder):
    torch.manual_seed(3)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("prepacked", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: BertModel(BertConfig(**SIZES)),
        lambda: RobertaModel(RobertaConfig(**SIZES)),
        lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES)),
    ],
    ids=["bert", "roberta", "xlm-roberta"],
)
def test_rows_without_padding_are_those_of_transformers(tmp_path, make, prepacked, pooling):
    padded = Padded(saved(make(), tmp_path), pooling, dtype=torch.float32, device="cpu")
    weights, config = bert_shaped(tmp_path)
    packed = Packed(weights, config, pooling, dtype=torch.float32, prepacked=prepacked)
    with torch.inference_mode():
        assert torch.allclose(packed(TEXTS), padded(TEXTS), atol=1e-4)


def test_other_shapes_are_left_to_transformers(tmp_path):
    saved(DistilBertModel(DistilBertConfig(vocab_size=60, dim=32, n_heads=4, n_layers=1)), tmp_path / "a")
    assert bert_shaped(tmp_path / "a") is None
    saved(BertModel(BertConfig(**SIZES)), tmp_path / "b")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    (tmp_path / "b" / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert bert_shaped(tmp_path / "b") is None
