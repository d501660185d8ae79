import random

import pytest

from assistant.adapters.batches import Encoded, batches, encode
from assistant.errors import ConfigError


def words(messages):
    return [ord(letter) for letter in messages[0].content]


def encoded(examples, render, **options):
    return encode(
        examples,
        render,
        prompt=lambda messages: [ord(letter) for turn in messages for letter in turn.content],
        completion=lambda text: [*map(ord, text), 2],
        **{"limit": 500, **options},
    )


def test_the_shared_prefix_and_the_rest_give_each_example_back(examples, render):
    data = encoded(examples, render)
    assert "".join(map(chr, data.prefix)).startswith("Answer from the passage.[1] Cases\nCase ")
    for example, own in zip(examples, data.examples, strict=True):
        whole = [*data.prefix, *own.tokens]
        assert "".join(map(chr, whole[-own.answer : -1])) == example.answer
        assert own.answer < len(own.tokens), "a prompt token stands before the answer"
    assert data.token_count == sum(len(data.prefix) + len(own.tokens) for own in data.examples)


def test_one_example_keeps_a_prompt_token(examples, render):
    data = encoded(examples[:1], render)
    assert len(data.examples[0].tokens) == data.examples[0].answer + 1


def test_too_long_an_example_is_named(examples, render):
    with pytest.raises(ConfigError, match="Example 1 has"):
        encoded(examples, render, limit=40)


def test_an_epoch_holds_every_example_once_and_repeats_for_a_seed():
    rows = [Encoded(tokens=(1,) * (5 + n % 9), answer=2) for n in range(23)]
    first = batches(rows, 4, random.Random(1))
    assert sorted(i for group in first for i in group) == list(range(23))
    assert first == batches(rows, 4, random.Random(1)) != batches(rows, 4, random.Random(2))
