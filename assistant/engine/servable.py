"""Which adapters can be served: checked before an engine reads or sends one.

It owns the list of what is refused: the kinds that vLLM refuses, and those that it would serve wrongly
without a word. It refuses to look at weights beyond their digest.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from assistant.errors import AdapterError
from assistant.types import AdapterVersion

_WEIGHTS, _CONFIG, _MANIFEST = "adapter_model.safetensors", "adapter_config.json", "manifest.json"
_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "biases on its own matrices",
    "alora_invocation_tokens": "aLoRA",
    "use_bdlora": "BD-LoRA",
    "use_qalora": "QALoRA",
    "layer_replication": "replicated layers",
    "modules_to_save": "whole modules beside the adapter",
    "trainable_token_indices": "rows of the embedding",
    "target_parameters": "parameters instead of layers",
    "kasa_config": "KaSA",
    "arrow_config": "Arrow routing",
    "monteclora_config": "MonteCLoRA",
}
_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Initial weights that leave the base model as it is. PiSSA, OLoRA, CorDA and LoftQ change it."""
_RETRAIN = "Restore or retrain this adapter."
_TRAIN_PLAIN = "Train it as plain LoRA; rsLoRA and patterns of rank and alpha are fine."


def check(version: AdapterVersion, base_digest: str, *, max_rank: int | None = None) -> None:
    """Check an adapter's files before anything reads their weights.

    Args:
        max_rank: the largest rank that is served; None for any.

    Raises:
        AdapterError: missing, damaged, of another base, or of a kind or rank that cannot be served.
    """
    if version.base_digest != base_digest:
        raise AdapterError(
            f"Adapter {version.name} was trained on base {version.base_digest[:16]}; "
            f"this engine serves {base_digest[:16]}.",
            remedy="Train it on this base, or configure its base.",
        )
    config, manifest = _read(version.path / _CONFIG), _read(version.path / _MANIFEST)
    _check_kind(version, config)
    _check_rank(version, config, max_rank)
    weights = version.path / _WEIGHTS
    if not weights.is_file():
        raise AdapterError(f"{weights} does not exist.", remedy=_RETRAIN)
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if manifest.get("digest") != version.digest or manifest.get("weights_digest") != found:
        raise AdapterError(
            f"{version.path} is not adapter {version.name}: its files were altered.", remedy=_RETRAIN
        )


def _check_kind(version: AdapterVersion, config: dict[str, object]) -> None:
    """Refuse what PEFT can train and others cannot serve (vLLM 0.32, `lora/peft_helper.py`)."""
    if config.get("peft_type") != "LORA":
        raise _refusal(version, f"is {config.get('peft_type')}, not LORA")
    if refused := [key for key in _REFUSED if config.get(key)]:
        raise _refusal(version, f"uses {_REFUSED[refused[0]]} (`{refused[0]}`)")
    if config.get("bias", "none") != "none":
        raise _refusal(version, "trains the model's biases (`bias`)")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
        raise AdapterError(
            f"Adapter {version.name} starts from {start} (`init_lora_weights`), which changes the base "
            "model under it and cannot be served.",
            remedy="Save it with PEFT's `path_initial_model_for_weight_conversion`, which makes plain LoRA "
            "of it, or train it again.",
        )


def _check_rank(version: AdapterVersion, config: dict[str, object], max_rank: int | None) -> None:
    """Refuse a rank that no server's slot holds; patterns may give single layers a larger one."""
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [pattern])]
    largest = max((rank for rank in ranks if isinstance(rank, int)), default=0)
    if largest < 1 or not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise AdapterError(f"{version.path / _CONFIG} is damaged: rank {ranks}.", remedy=_RETRAIN)
    if max_rank is not None and largest > max_rank:
        raise AdapterError(
            f"Adapter {version.name} has rank {largest}; the server takes {max_rank} at most.",
            remedy="Start it with a larger --max-lora-rank and set `engine.max_lora_rank`, or train with a "
            "smaller rank.",
        )


def _refusal(version: AdapterVersion, what: str) -> AdapterError:
    return AdapterError(f"Adapter {version.name} {what}, which cannot be served.", remedy=_TRAIN_PLAIN)


def _read(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{file} does not exist.", remedy=_RETRAIN) from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{file} is damaged ({type(error).__name__}).", remedy="Restore it.") from None
    if not isinstance(content, dict):
        raise AdapterError(f"{file} is damaged: it holds no mapping.", remedy="Restore it.")
    return content
