import pytest
import torch

from assistant.adapters.batches import Encoded, EncodedSet
from assistant.adapters.recipe import Recipe
from assistant.adapters.train import _adapt, _cut, _load
from assistant.adapters.trunk import Trunk, answer_loss
from assistant.errors import AdapterError

PREFIX = tuple(range(10, 27))
ROWS = tuple(Encoded(tokens=tuple(range(30, 30 + length)), answer=length // 2) for length in (12, 7, 9))


@pytest.fixture
def model(base):
    model, _ = _load(base, "cpu")
    recipe = Recipe(rank=2, upper=0.5)
    _adapt(model, recipe)
    torch.manual_seed(5)
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.2)
    return model, _cut(model.config.num_hidden_layers, recipe)


def gradients(model):
    return {name: w.grad.clone() for name, w in model.named_parameters() if w.requires_grad}


@pytest.mark.parametrize("prefix", [PREFIX, ()])
def test_loss_and_gradients_equal_a_plain_loop(model, prefix):
    model, cut = model
    data = EncodedSet(prefix=prefix, examples=ROWS)
    trunk = Trunk(model, cut)
    hidden = trunk.lower(data, size=2)
    loss = answer_loss(trunk.upper(hidden.prefix, list(hidden.examples)), ROWS, model.lm_head)
    loss.backward()
    quick = gradients(model)
    model.zero_grad()
    total, count = torch.zeros(()), 0
    for row in ROWS:
        tokens = torch.tensor([[*prefix, *row.tokens]])
        logits = model(input_ids=tokens, use_cache=False).logits[0, -row.answer - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, tokens[0, -row.answer :], reduction="sum")
        count += row.answer
    (total / count).backward()
    torch.testing.assert_close(loss, total / count, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(quick[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_other_architectures_are_refused(model):
    model, cut = model
    model.config.model_type = "gpt2"
    with pytest.raises(AdapterError, match="gpt2"):
        Trunk(model, cut)
