"""Random adapters as PEFT writes them, with this project's manifest beside: what training would leave.

It owns their shapes and how loud they are: a trained adapter's change of the weights, or so much that no
two of them say the same, for checks that an output is its own adapter's. It refuses to train.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from assistant.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE
from assistant.models.digests import file_digest
from assistant.models.identity import identify
from assistant.testing.tiny import adapter_manifest
from assistant.types import AdapterVersion

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
LOUD = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Rank, targets and scaling of an adapter, and the standard deviation of its B's weights."""

    rank: int = 16
    targets: tuple[str, ...] = ALL_LINEAR
    rslora: bool = False
    change: float = 0.05


def write(model: Path, out: Path, shapes: Sequence[Shape], *, seed: int = 0) -> list[AdapterVersion]:
    """Write one adapter version for each shape below `out`; weights follow from `seed` and their place."""
    return [_write(model, out, f"d{number}", shape, seed + number) for number, shape in enumerate(shapes)]


def _write(model: Path, out: Path, department: str, shape: Shape, seed: int) -> AdapterVersion:
    folder = out / department
    folder.mkdir(parents=True)
    chance = torch.Generator().manual_seed(seed)
    weights = dict(_weights(json.loads((model / "config.json").read_text(encoding="utf-8")), shape, chance))
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": shape.rank,
        "lora_alpha": 2 * shape.rank,
        "use_rslora": shape.rslora,
        "target_modules": list(shape.targets),
        "base_model_name_or_path": model.name,
        "inference_mode": True,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return _describe(model, folder, department, shape.rank, seed)


def _weights(
    config: dict[str, Any], shape: Shape, chance: torch.Generator
) -> Iterator[tuple[str, torch.Tensor]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    sizes = {
        "self_attn.q_proj": (hidden, queries),
        "self_attn.k_proj": (hidden, keys),
        "self_attn.v_proj": (hidden, keys),
        "self_attn.o_proj": (queries, hidden),
        "mlp.gate_proj": (hidden, inner),
        "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        for module, (entering, leaving) in sizes.items():
            if module.split(".")[1] in shape.targets:
                name = f"base_model.model.model.layers.{layer}.{module}"
                down = torch.randn(shape.rank, entering, generator=chance) * (3 * entering) ** -0.5
                up = torch.randn(leaving, shape.rank, generator=chance) * shape.change
                yield f"{name}.lora_A.weight", down.bfloat16()
                yield f"{name}.lora_B.weight", up.bfloat16()


def _describe(model: Path, folder: Path, department: str, rank: int, seed: int) -> AdapterVersion:
    identity = identify(model)
    made_of: dict[str, Any] = {
        "weights_digest": file_digest(folder / WEIGHTS_FILE),
        "config_digest": file_digest(folder / CONFIG_FILE),
        "base_digest": identity.base_digest,
        "tokenizer_digest": identity.tokenizer_digest,
        "template_digest": identity.template_digest,
        "data_digest": "d" * 64,
        "recipe": {"seed": seed},
    }
    manifest = adapter_manifest(department, made_of)
    manifest.write(folder)
    return AdapterVersion(
        department=department,
        digest=manifest.digest,
        path=folder,
        base_digest=identity.base_digest,
        rank=rank,
        size_bytes=(folder / WEIGHTS_FILE).stat().st_size,
    )
