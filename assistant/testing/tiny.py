"""A tiny untrained model folder with a real tokenizer and chat template, made in a second.

For tests that need the machinery of a model and not its knowledge. It owns nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assistant.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE, version_digest
from assistant.adapters.manifest import Manifest as AdapterManifest
from assistant.models.digests import MANIFEST, Manifest, describe, file_digest, weights_digest
from assistant.models.identity import identify
from assistant.types import AdapterVersion

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {
    "q_proj": ("self_attn", 32, 64),
    "k_proj": ("self_attn", 32, 32),
    "v_proj": ("self_attn", 32, 32),
    "o_proj": ("self_attn", 64, 32),
    "gate_proj": ("mlp", 32, 64),
    "up_proj": ("mlp", 32, 64),
    "down_proj": ("mlp", 64, 32),
}
"""Linear layers of a tiny model's decoder layer: where each is, its inputs and outputs."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tiny_model(folder: Path, *, layers: int = 4, seed: int = 0, context_tokens: int = 1024) -> Path:
    """Write a Llama of a few thousand weights: byte-level tokens, so every text has many.

    It mostly writes letters and signs, seldom halves of others.

    Args:
        seed: of the random weights; other seeds give other base digests.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        initializer_range=0.2,
    )
    logging.disable_progress_bar()
    model = LlamaForCausalLM(config)
    pieces = AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens(range(vocabulary))
    seldom = torch.tensor([len(piece) == 1 and not " " < piece <= "~" for piece in pieces])
    model.model.embed_tokens.weight.data[seldom] *= 0.2
    model.save_pretrained(folder)
    _manifest(folder)
    return folder


def _write_tokenizer(folder: Path) -> int:
    """Write a byte-level tokenizer without merges; return the size of its vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *alphabet])}
    tokens = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokens.add_special_tokens([AddedToken(piece, special=True) for piece in SPECIAL])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokens, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token="<|im_start|>"
    )
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(folder)
    return len(vocabulary)


def tiny_adapter(
    folder: Path,
    base: Path,
    department: str,
    *,
    seed: int = 0,
    rank: int = 2,
    targets: Sequence[str] = ("q_proj",),
    config: Mapping[str, Any] | None = None,
) -> AdapterVersion:
    """Write an adapter version with random weights for a model of `tiny_model` below `folder`.

    Args:
        targets: linear layers of the last two decoder layers, any of `SIZES`.
        config: more of PEFT's settings, as `use_rslora`.
    """
    beside = folder / f".{department}.part"
    beside.mkdir(parents=True)
    _write_lora(beside, rank, seed, targets, config or {})
    identity = identify(base)
    made_of: dict[str, Any] = {
        "weights_digest": file_digest(beside / WEIGHTS_FILE),
        "config_digest": file_digest(beside / CONFIG_FILE),
        "base_digest": identity.base_digest,
        "tokenizer_digest": identity.tokenizer_digest,
        "template_digest": identity.template_digest,
        "data_digest": "d" * 64,
        "recipe": {"seed": seed},
    }
    manifest = adapter_manifest(department, made_of)
    manifest.write(beside)
    path = beside.rename(folder / manifest.short)
    return AdapterVersion(
        department=department,
        digest=manifest.digest,
        path=path,
        base_digest=identity.base_digest,
        rank=rank,
        size_bytes=(path / WEIGHTS_FILE).stat().st_size,
    )


def _write_lora(folder: Path, rank: int, seed: int, targets: Sequence[str], more: Mapping[str, Any]) -> None:
    """Write PEFT's two files, with random weights on two layers."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    weights = {}
    for layer in (2, 3):
        for target in targets:
            home, inputs, out = SIZES[target]
            name = f"base_model.model.model.layers.{layer}.{home}.{target}"
            weights[f"{name}.lora_A.weight"] = torch.randn(rank, inputs).bfloat16()
            weights[f"{name}.lora_B.weight"] = torch.randn(out, rank).bfloat16()
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(targets),
        "layers_to_transform": [2, 3],
        "base_model_name_or_path": "tiny",
        **more,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")


def adapter_manifest(department: str, made_of: Mapping[str, Any]) -> AdapterManifest:
    """Return the manifest of a version that no training made."""
    return AdapterManifest(
        department=department,
        digest=version_digest(**made_of),
        base_name="tiny",
        examples=1,
        losses=(),
        tokens=0,
        seconds=0.0,
        threads=1,
        dtype="bfloat16",
        versions={},
        created_at="2026-01-01T00:00:00+00:00",
        **made_of,
    )


def _manifest(folder: Path) -> None:
    """Describe the folder as a pulled model's."""
    manifest = Manifest(
        name="tiny",
        kind="causal-lm",
        sha256=weights_digest(sorted(folder.glob("*.safetensors"))),
        source="made by a test",
        licence="",
        converted_from=None,
        files=describe(folder),
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
