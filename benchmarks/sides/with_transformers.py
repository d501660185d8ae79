"""transformers' own `generate`, the base model alone: one batch, padded on the left.

It owns that side's padding and time stamps; it refuses to help it or to hold it back: default cache,
default attention, no end token, so that it does exactly the work asked for.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.sides.base import Call, Record

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Generate:
    """A transformers model that serves a batch at a time."""

    def __init__(self, folder: Path, dtype: str, *, device: str = "cpu") -> None:
        self.dtype, self.device = dtype, device
        self.model = load(folder, dtype, device)

    @property
    def name(self) -> str:
        """Its name in figures."""
        return f"transformers_{self.dtype}"

    def run(self, calls: Sequence[Call]) -> Record:
        """Generate for all calls as one batch, to the longest; each keeps what it asked for."""
        return batch(self.model, calls, device=self.device)


def load(folder: Path, dtype: str, device: str) -> Any:  # noqa: ANN401 - transformers is untyped
    """Return the model in `folder`, for inference."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype], local_files_only=True)
    return model.to(device).eval()


def padded(calls: Sequence[Call], device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts padded on the left and their mask, both `[calls, longest prompt]`."""
    width = max(len(call.tokens) for call in calls)
    ids = torch.zeros(len(calls), width, dtype=torch.long)
    mask = torch.zeros(len(calls), width, dtype=torch.long)
    for row, call in enumerate(calls):
        ids[row, width - len(call.tokens) :] = torch.tensor(call.tokens)
        mask[row, width - len(call.tokens) :] = 1
    return ids.to(device), mask.to(device)


def batch(
    model: Any,  # noqa: ANN401 - transformers is untyped
    calls: Sequence[Call],
    *,
    device: str = "cpu",
    **more: object,
) -> Record:
    """One greedy `generate` over all calls; `more` goes to it as it is."""
    from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

    stamps: list[float] = []

    class Clock(StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: torch.Tensor, scores: object, **kwargs: object) -> torch.Tensor:
            input_ids[0, -1].item()  # a GPU has finished the step when this is known
            stamps.append(time.perf_counter())
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    longest = max(call.new_tokens for call in calls)
    ids, mask = padded(calls, device)
    settings = GenerationConfig(max_new_tokens=longest, do_sample=False, pad_token_id=0, eos_token_id=None)
    began = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            stopping_criteria=StoppingCriteriaList([Clock()]),
            **more,
        )
    assert len(stamps) == longest, "a step without a time stamp"
    rows = out[:, ids.shape[1] :].tolist()
    return Record(
        stamps=tuple(tuple(t - began for t in stamps[: call.new_tokens]) for call in calls),
        tokens=tuple(tuple(row[: call.new_tokens]) for row, call in zip(rows, calls, strict=True)),
    )


class Prefilled:
    """The same calls again and again from computed prompts: what remains is decoding."""

    def __init__(self, side: Generate, calls: Sequence[Call]) -> None:
        self._side, self._calls = side, calls
        self._cache = prefill(side.model, calls, side.device)

    def run(self) -> Record:
        """Decode all calls, from a copy of the prompts' keys and values."""
        cache = copy.deepcopy(self._cache)
        return batch(self._side.model, self._calls, device=self._side.device, past_key_values=cache)


def prefill(model: Any, calls: Sequence[Call], device: str = "cpu") -> Any:  # noqa: ANN401 - transformers is untyped
    """Return the cache of all prompts but their last token, which a `generate` with it begins with."""
    from transformers import DynamicCache

    ids, mask = padded(calls, device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(
            input_ids=ids[:, :-1],
            attention_mask=mask[:, :-1],
            position_ids=positions[:, :-1],
            past_key_values=cache,
            logits_to_keep=1,
        )
    return cache


def forced(
    model: Any,  # noqa: ANN401 - transformers is untyped
    calls: Sequence[Call],
    tokens: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Decode one batch along given tokens, step by step.

    Returns:
        Natural-log probabilities before each of the tokens, `[calls, tokens, vocabulary]`, fp32.
    """
    from transformers import DynamicCache

    ids, mask = padded(calls)
    cache = DynamicCache(config=model.config)
    places = []
    with torch.inference_mode():
        for column in torch.tensor(tokens).T:
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            )
            places.append(out.logits[:, -1].float().log_softmax(-1))
            ids = column[:, None]
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return torch.stack(places, dim=1)
