import json

import pytest
import torch
from safetensors.torch import load_file

from assistant.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE, read_manifest
from assistant.adapters.recipe import Recipe
from assistant.adapters.train import train
from assistant.errors import AdapterError, ConfigError, ModelError
from assistant.models.identity import identify


def test_writes_a_version_under_its_digest(trained, base):
    manifest, out = trained
    folder = out / manifest.short
    assert sorted(file.name for file in folder.iterdir()) == [
        CONFIG_FILE,
        WEIGHTS_FILE,
        "manifest.json",
    ]
    assert read_manifest(folder) == manifest
    assert manifest.base_digest == identify(base).base_digest
    assert manifest.losses[1] < manifest.losses[0]


def test_weights_are_bf16_and_of_the_upper_layers_only(trained):
    manifest, out = trained
    weights = load_file(out / manifest.short / WEIGHTS_FILE)
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert {name.split(".layers.")[1].split(".")[0] for name in weights} == {"2", "3"}


def test_the_configuration_names_no_machine_path(trained, base):
    manifest, out = trained
    content = (out / manifest.short / CONFIG_FILE).read_text()
    assert str(base.parent) not in content
    assert json.loads(content)["base_model_name_or_path"] == "tiny"


def test_a_seed_repeats_bit_for_bit_and_tells_progress(trained, base, examples, render, recipe, tmp_path):
    manifest, _ = trained
    steps = []
    again = train(
        "hr",
        examples,
        data_digest="d" * 64,
        base_folder=base,
        render=render,
        out=tmp_path,
        recipe=recipe,
        progress=steps.append,
    )
    assert again.digest == manifest.digest
    assert [step.done for step in steps] == list(range(1, steps[0].total + 1))
    assert steps[-1].left_s == 0
    assert all(step.tokens_per_s > 0 for step in steps)


def test_any_change_of_the_recipe_is_another_version(trained, base, examples, render, tmp_path):
    manifest, _ = trained
    recipe = Recipe(rank=2, alpha=4, upper=0.5, epochs=1, batch=3, learning_rate=0.01)
    other = train(
        "hr", examples, data_digest="d" * 64, base_folder=base, render=render, out=tmp_path, recipe=recipe
    )
    assert other.digest != manifest.digest


def test_a_failed_training_leaves_nothing(base, examples, render, tmp_path):
    recipe = Recipe(rank=2, upper=0.5, epochs=1, learning_rate=1e30)
    with pytest.raises(AdapterError, match="not finite"):
        train(
            "hr", examples, data_digest="d" * 64, base_folder=base, render=render, out=tmp_path, recipe=recipe
        )
    assert not list(tmp_path.iterdir())


def test_missing_models_and_long_examples_are_refused(base, examples, render, tmp_path):
    with pytest.raises(ModelError, match="models pull"):
        train(
            "hr", examples, data_digest="d" * 64, base_folder=tmp_path / "none", render=render, out=tmp_path
        )
    long = [examples[0].model_copy(update={"answer": "word " * 400})]
    with pytest.raises(ConfigError, match="tokens"):
        train("hr", long, data_digest="d" * 64, base_folder=base, render=render, out=tmp_path)
