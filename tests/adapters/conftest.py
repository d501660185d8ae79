from __future__ import annotations

import json

import pytest

from assistant.adapters.curate import Example
from assistant.adapters.recipe import Recipe
from assistant.adapters.train import train
from assistant.testing.tiny import tiny_model
from assistant.types import Message


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def examples():
    def one(number):
        return Example.model_validate(
            {
                "question": f"How many days for case {number}?",
                "passages": [{"title": "Cases", "text": f"Case {number} takes {number * 3} days, mostly."}],
                "answer": f"It takes {number * 3} days [1]." + " Ask again." * (number % 3),
            }
        )

    return [one(number) for number in range(2, 12)]


@pytest.fixture(scope="session")
def render():
    def laid_out(example):
        passage = example.passages[0]
        asked = f"[1] {passage.title}\n{passage.text}\n\nQuestion: {example.question}"
        return (
            Message(role="system", content="Answer from the passage."),
            Message(role="user", content=asked),
        )

    return laid_out


@pytest.fixture(scope="session")
def recipe():
    return Recipe(rank=2, alpha=4, upper=0.5, epochs=2, batch=3, learning_rate=0.01)


@pytest.fixture(scope="session")
def trained(base, examples, render, recipe, tmp_path_factory):
    """One trained version: its manifest and the folder of versions."""
    out = tmp_path_factory.mktemp("trained") / "versions"
    manifest = train(
        "hr", examples, data_digest="d" * 64, base_folder=base, render=render, out=out, recipe=recipe
    )
    return manifest, out


@pytest.fixture
def workspace(tmp_path, trained):
    """An `adapters/` folder with one department and the trained version."""
    import shutil

    manifest, out = trained
    folder = tmp_path / "adapters" / "hr"
    shutil.copytree(out, folder / "versions")
    (folder / "adapter.yaml").write_text(
        'department: hr\ndescription: Leave and pay.\nstyle: Warm.\nexamples: ["one?", "two?", "three?"]\n'
    )
    line = {"question": "q?", "passages": [{"title": "t", "text": "x"}], "answer": "a [1]."}
    (folder / "train.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "adapters", manifest
