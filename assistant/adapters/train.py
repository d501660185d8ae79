"""Train a department's adapter: LoRA on the upper layers, loss on the answers only, a plain loop.

It owns the optimiser loop. It refuses to lay out prompts (the
layout of serving is handed in), to fetch text, and to point a department at what it trained.
"""

from __future__ import annotations

import math
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assistant.adapters.batches import EncodedSet, Render, batches, encode
from assistant.adapters.curate import Example, documents_of
from assistant.adapters.manifest import Manifest
from assistant.adapters.recipe import Recipe
from assistant.adapters.trunk import Hidden, Trunk, answer_loss
from assistant.adapters.version import Lineage, write
from assistant.errors import AdapterError
from assistant.models.identity import identify


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Progress: steps done of all, the last step's loss, examples' tokens per second, time left."""

    done: int
    total: int
    loss: float
    tokens_per_s: float
    left_s: float


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Show nothing."""


def train(
    department: str,
    examples: Sequence[Example],
    *,
    data_digest: str,
    base_folder: Path,
    render: Render,
    out: Path,
    recipe: Recipe | None = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress = silent,
) -> Manifest:
    """Train an adapter and write it as `out/<first 16 of its digest>`; bit-equal for a seed and threads.

    Args:
        data_digest: sha256 of the examples' file.
        base_folder: the base model, as pulled.
        render: an example's prompt, laid out as when serving.
        out: the department's folder of versions.
        threads: torch threads; all cores by default.

    Raises:
        ModelError: the base model is missing.
        AdapterError: the base is of a shape this training does not support, or the loss is not finite.
        ConfigError: an example is too long.
    """
    recipe = recipe or Recipe()
    identity = identify(base_folder)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    model, tokenizer = _load(base_folder, device)
    encoded = _encode(examples, render, model, tokenizer)
    began = time.perf_counter()
    adapted = _adapt(model, recipe)
    losses = _fit(model, encoded, recipe, progress)
    lineage = Lineage(
        department=department,
        base=identity,
        data_digest=data_digest,
        examples=len(examples),
        documents=documents_of(examples),
        recipe=recipe,
        losses=losses,
        tokens=encoded.token_count,
        seconds=round(time.perf_counter() - began, 1),
    )
    return write(adapted, out, lineage)


def _load(folder: Path, device: str) -> tuple[Any, Any]:
    """Return the base model (fp32 on a CPU, bf16 on a GPU) without gradients, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(device)
    model.requires_grad_(False)
    return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _encode(
    examples: Sequence[Example],
    render: Render,
    model: Any,  # noqa: ANN401 - transformers is untyped
    tokenizer: Any,  # noqa: ANN401
) -> EncodedSet:
    return encode(
        examples,
        render,
        prompt=lambda messages: list(
            tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in messages],
                add_generation_prompt=True,
                return_dict=False,
            )
        ),
        completion=lambda text: [
            *tokenizer(text, add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ],
        limit=min(4096, model.config.max_position_embeddings),
    )


def _cut(layers: int, recipe: Recipe) -> int:
    return min(layers - 1, round(layers * (1 - recipe.upper)))


def _adapt(model: Any, recipe: Recipe) -> Any:  # noqa: ANN401 - peft is untyped
    from peft import LoraConfig, get_peft_model

    layers = model.config.num_hidden_layers
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.targets),
        layers_to_transform=list(range(_cut(layers, recipe), layers)),
    )
    with warnings.catch_warnings():  # peft reads a name that transformers renamed
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(model, config)


def _fit(
    model: Any,  # noqa: ANN401 - transformers is untyped
    encoded: EncodedSet,
    recipe: Recipe,
    progress: Progress,
) -> tuple[float, ...]:
    """Run the epochs; returns the mean loss of each."""
    trunk = Trunk(model, _cut(model.config.num_hidden_layers, recipe))
    hidden = trunk.lower(encoded)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    chance = random.Random(recipe.seed)
    epochs = [batches(encoded.examples, recipe.batch, chance) for _ in range(recipe.epochs)]
    total = sum(len(epoch) for epoch in epochs)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total, recipe.warmup))
    began, tokens, done = time.perf_counter(), 0, 0
    means: list[float] = []
    for epoch in epochs:
        losses: list[float] = []
        for group in epoch:
            losses.append(_step(model, trunk, hidden, encoded, group, weights, recipe))
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            done += 1
            tokens += sum(len(encoded.prefix) + len(encoded.examples[i].tokens) for i in group)
            spent = time.perf_counter() - began
            left = spent / done * (total - done)
            progress(Step(done=done, total=total, loss=losses[-1], tokens_per_s=tokens / spent, left_s=left))
        means.append(round(sum(losses) / len(losses), 4))
    return tuple(means)


def _step(
    model: Any,  # noqa: ANN401 - transformers is untyped
    trunk: Trunk,
    hidden: Hidden,
    encoded: EncodedSet,
    group: Sequence[int],
    weights: Sequence[torch.nn.Parameter],
    recipe: Recipe,
) -> float:
    """Gradients of one batch; returns its loss."""
    states = trunk.upper(hidden.prefix, [hidden.examples[i] for i in group])
    loss = answer_loss(states, [encoded.examples[i] for i in group], model.lm_head)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise AdapterError("The training loss is not finite.", remedy="Lower the recipe's learning rate.")
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(weights, recipe.gradient_norm)
    return value


def _rate(step: int, total: int, warmup: float) -> float:
    """Share of the learning rate: a linear rise, then a cosine to zero."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
