"""A GPU-size model on one CUDA GPU: 8 billion parameters of random bf16, 64 requests, 16 adapters.

It owns that model's folder (made on the device, written once, read by both sides), this engine's ratio to
PEFT's mixed batch and to the bandwidth floor. On GPUs the HTTP engine with vLLM is recommended; this
shows what the same code does there. Without a GPU it says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from assistant.models.digests import MANIFEST
from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench, alternate, free, say
from benchmarks.parts.floor import Floor, Size
from benchmarks.rates import Rates
from benchmarks.sides import adapters
from benchmarks.sides.adapters import Shape
from benchmarks.sides.base import Record
from benchmarks.sides.ours import Ours
from benchmarks.sides.with_peft import Mixed
from benchmarks.sides.workload import CONTEXT_TOKENS, Texts, contexts, mixed

LLAMA_8B: Mapping[str, object] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "vocab_size": 128256,
}
_ROWS, _ADAPTERS, _ROUNDS = 64, 16, 3


def run(bench: Bench) -> Iterator[Figure]:
    """Yield the figures of one CUDA GPU, or the reason why there are none."""
    if not torch.cuda.is_available():
        yield Figure(figure="gpu_8b", value=None, unit="tokens/s", skipped="torch sees no CUDA GPU here")
        return
    say(f"{torch.cuda.get_device_name()}: making 8 billion weights")
    folder = write(bench.folder, bench.out / "llama-8b", LLAMA_8B, device="cuda")
    yield from compare(bench, folder, rows=_ROWS, count=_ADAPTERS, rounds=_ROUNDS, device="cuda")


def compare(
    bench: Bench,
    folder: Path,
    *,
    rows: int,
    count: int,
    rounds: int,
    device: str,
    lengths: tuple[int, int] = CONTEXT_TOKENS,
    new_tokens: int = 64,
) -> Iterator[Figure]:
    """Yield this engine beside PEFT's mixed batch and the floor, on one model and device."""
    rates = Rates.measure(device)
    yield bench.figure("gpu_matmul_bfloat16", rates.bfloat16 / 1e12, "TFLOP/s")
    yield bench.figure("gpu_copy", rates.copy / 1e9, "GB/s")
    versions = adapters.write(folder, bench.out / "gpu-adapters", [Shape()] * count)
    calls = contexts(Texts.read(bench.folder), rows, new_tokens=new_tokens, lengths=lengths)
    adapted = mixed(calls, count)
    peft = Mixed(folder, versions, "bfloat16", device=device)
    with Ours.open(
        folder,
        versions,
        device=device,
        dtype="bfloat16",
        batch_size=rows,
        resident_adapters=count,
        prefix_cache_mb=Size.read(folder).kept_mb([*adapted, *calls]),
    ) as ours:
        ours.run_again(adapted)
        ours.run_again(calls)
        measured = alternate(
            {
                "ours": partial(ours.run, adapted),
                "peft": partial(peft.run, adapted),
                "ours_decode": partial(ours.run_again, adapted),
                "ours_decode_base": partial(ours.run_again, calls),
            },
            rounds,
        )
    free()
    for side in ("ours", "peft"):
        yield bench.figure(f"gpu_8b_end_to_end_{side}", measured.median(side, _rate), "tokens/s")
    for side in ("ours_decode", "ours_decode_base", "peft"):
        yield bench.figure(f"gpu_8b_step_{side}", 1000 * measured.median(side, _step), "ms")
    yield bench.figure("gpu_8b_end_to_end_to_peft", measured.ratio("ours", "peft", _rate), "ratio")
    yield bench.figure("gpu_8b_step_to_peft", measured.ratio("peft", "ours_decode", _step), "ratio")
    floor = Floor.of(Size.read(folder), adapted, bytes_per_number=2)
    floor_s = floor.seconds(rates, "bfloat16")
    yield bench.figure("gpu_8b_floor", 1000 * floor_s, "ms")
    share = floor_s / measured.median("ours_decode", _step)
    yield bench.figure("gpu_8b_floor_share_reached", share, "share")


def write(source: Path, folder: Path, shape: Mapping[str, object], *, device: str) -> Path:
    """Write a Llama of random bf16 weights, with tokenizer and template that name a token for every id.

    Args:
        source: the folder whose chat template and end-less settings it takes.
        device: where the weights are drawn.
    """
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(**shape, eos_token_id=None, bos_token_id=None, pad_token_id=None)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    del model
    free()
    _tokenizer(source, folder, config.vocab_size)
    _manifest(folder)
    return folder


def _tokenizer(source: Path, folder: Path, size: int) -> None:
    """Write a tokenizer with a word for every id, so that every generated token is text."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = {f"w{number}": number for number in range(size)}
    tokens = Tokenizer(models.WordLevel(vocab=words, unk_token="w0"))
    tokens.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokens)
    wrapped.chat_template = (source / "chat_template.jinja").read_text(encoding="utf-8")
    wrapped.save_pretrained(folder)


def _manifest(folder: Path) -> None:
    """Name the base by its recipe: nobody else will ever read these weights."""
    manifest: dict[str, object] = {
        "name": folder.name,
        "kind": "causal-lm",
        "sha256": "8b" * 32,
        "source": "random weights of a benchmark",
        "licence": "",
        "converted_from": None,
        "files": {},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _rate(record: Record) -> float:
    return record.tokens_per_s


def _step(record: Record) -> float:
    return record.step_s
