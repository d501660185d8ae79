"""Write a trained adapter as an immutable version: weights, configuration, manifest, one rename.

It owns what PEFT's files must not hold (machine paths, hashing order); it refuses to change a version.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from assistant.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE, Manifest, version_digest
from assistant.adapters.recipe import Recipe
from assistant.models.identity import ModelIdentity

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What an adapter was made of and how training went."""

    department: str
    base: ModelIdentity
    data_digest: str
    examples: int
    documents: tuple[str, ...]
    recipe: Recipe
    losses: tuple[float, ...]
    tokens: int
    seconds: float


def write(adapted: Any, out: Path, lineage: Lineage) -> Manifest:  # noqa: ANN401 - peft is untyped
    """Write a PEFT model's adapter beside, then rename it to the first 16 digits of its digest in `out`."""
    beside = out / f".{lineage.department}.part"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        _save(adapted, beside, lineage.base.name)
        manifest = _manifest(beside, lineage)
        manifest.write(beside)
        target = out / manifest.short
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def _manifest(folder: Path, lineage: Lineage) -> Manifest:
    made_of: dict[str, Any] = {
        "weights_digest": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        "config_digest": hashlib.sha256((folder / CONFIG_FILE).read_bytes()).hexdigest(),
        "base_digest": lineage.base.base_digest,
        "tokenizer_digest": lineage.base.tokenizer_digest,
        "template_digest": lineage.base.template_digest,
        "data_digest": lineage.data_digest,
        "recipe": lineage.recipe.as_dict(),
    }
    return Manifest(
        department=lineage.department,
        digest=version_digest(**made_of),
        base_name=lineage.base.name,
        examples=lineage.examples,
        documents=lineage.documents,
        losses=lineage.losses,
        tokens=lineage.tokens,
        seconds=lineage.seconds,
        threads=torch.get_num_threads(),
        dtype="bfloat16",
        versions={name: version(name) for name in _LIBRARIES},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **made_of,
    )


def _save(adapted: Any, folder: Path, base_name: str) -> None:  # noqa: ANN401 - peft is untyped
    """PEFT's two files, without machine paths and in an order that does not depend on hashing."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    state = get_peft_model_state_dict(adapted)
    halves = {name: state[name].detach().to("cpu", torch.bfloat16).contiguous() for name in sorted(state)}
    save_file(halves, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = adapted.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(folder)
    content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    content["base_model_name_or_path"] = base_name
    content["target_modules"] = sorted(content["target_modules"])
    (folder / CONFIG_FILE).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
