import json
import shutil
from dataclasses import replace

import pytest

from assistant.engine.servable import check
from assistant.errors import AdapterError


@pytest.fixture
def altered(versions, tmp_path):
    """An adapter with other settings in its adapter_config.json."""

    def alter(**settings):
        folder = shutil.copytree(versions[0].path, tmp_path / "altered", dirs_exist_ok=True)
        file = folder / "adapter_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
        return replace(versions[0], path=folder)

    return alter


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "lora_bias"),
        ({"alora_invocation_tokens": [1, 2]}, "aLoRA"),
        ({"use_bdlora": {"nblocks": 2}}, "BD-LoRA"),
        ({"use_qalora": True}, "QALoRA"),
        ({"layer_replication": [[0, 4]]}, "layer_replication"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [7]}, "trainable_token_indices"),
        ({"target_parameters": ["mlp.experts.down_proj"]}, "target_parameters"),
        ({"kasa_config": {}, "arrow_config": {"top_k": 1}}, "Arrow"),
        ({"kasa_config": {"beta": 1}}, "KaSA"),
        ({"monteclora_config": {"n": 2}}, "MonteCLoRA"),
        ({"bias": "lora_only"}, "biases"),
        ({"peft_type": "LOHA"}, "LOHA"),
    ],
)
def test_kinds_that_cannot_be_served_are_named(altered, base_digest, settings, said):
    with pytest.raises(AdapterError, match=said) as refused:
        check(altered(**settings), base_digest)
    assert "plain LoRA" in refused.value.remedy


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_16", "PiSSA", "olora", "corda", "loftq", "later"])
def test_starts_that_change_the_base_must_be_converted(altered, base_digest, start):
    with pytest.raises(AdapterError, match="init_lora_weights") as refused:
        check(altered(init_lora_weights=start), base_digest)
    assert "path_initial_model_for_weight_conversion" in refused.value.remedy


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 8}},
        {"init_lora_weights": False},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "eva"},
    ],
)
def test_plain_lora_is_served(altered, base_digest, settings):
    check(altered(**settings), base_digest, max_rank=2)


def test_a_rank_over_the_largest_is_refused_wherever_it_stands(altered, base_digest):
    check(altered(rank_pattern={"q_proj": 64}), base_digest)
    with pytest.raises(AdapterError, match="rank 64; the server takes 16"):
        check(altered(rank_pattern={"q_proj": 64}), base_digest, max_rank=16)
    with pytest.raises(AdapterError, match="rank 2; the server takes 1"):
        check(altered(rank_pattern={"q_proj": 1}), base_digest, max_rank=1)


@pytest.mark.parametrize(
    "settings", [{"r": 0}, {"r": None}, {"rank_pattern": {"q_proj": "8"}}, {"rank_pattern": 3.5}]
)
def test_ranks_that_are_none_are_damage(altered, base_digest, settings):
    with pytest.raises(AdapterError, match="damaged: rank"):
        check(altered(**settings), base_digest)
