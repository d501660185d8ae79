"""The base model in this process: prefill, decode step, scoring.

It owns weights, arithmetic and the key-value cache of a row; it refuses to know about queues, text or
sampling. One row steps at a time; `Row` is what a later mixed batch will hold several of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assistant.engine.arithmetic import choose_device, choose_dtype
from assistant.engine.cache import new_cache
from assistant.engine.slots import AdapterSlots
from assistant.errors import ModelError

_PREFILL_TOKENS = 512


class Row:
    """One request inside the model: its cache and the logits [vocabulary] after its last token."""

    def __init__(self, cache: Any) -> None:  # noqa: ANN401 - transformers is untyped
        self.cache = cache
        self.logits: Tensor | None = None

    @property
    def last(self) -> Tensor:
        """The logits after the last token; a row has some once its prompt ran."""
        assert self.logits is not None, "the prompt ran"
        return self.logits


class Model:
    """A causal language model with adapter slots. Belongs to the thread that made it.

    Args:
        folder: config and safetensors.
        dtype, device: or `auto`.
        resident: how many adapters stay inside.
    """

    def __init__(self, folder: Path, *, dtype: str, device: str, resident: int) -> None:
        from safetensors import SafetensorError
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.device = choose_device(device)
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            chosen = choose_dtype(dtype, self.device, config.hidden_size, config.intermediate_size)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=chosen, local_files_only=True)
        except (OSError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"The model in {folder} cannot be loaded: {error}", remedy="Run `assistant models pull`."
            ) from error
        self._model = model.to(self.device).eval().requires_grad_(False)
        self.context_tokens = int(config.max_position_embeddings)
        self.dtype = str(chosen).removeprefix("torch.")
        self.slots = AdapterSlots(self._model, resident)

    def prefill(self, row: Row, tokens: Sequence[int]) -> Iterator[None]:
        """Run a prompt in pieces, yielding after each; the head runs at a piece's last position only."""
        for start in range(0, len(tokens), _PREFILL_TOKENS):
            row.logits = self._run(row, tokens[start : start + _PREFILL_TOKENS], 1)[-1]
            yield

    def step(self, row: Row, token: int) -> None:
        """Append one token to a row."""
        row.logits = self._run(row, (token,), 1)[-1]

    def score(self, row: Row, last: int, tokens: Sequence[int]) -> list[float]:
        """Log-probabilities of `tokens`, which follow `last`, the first token not yet in the row."""
        logits = self._run(row, (last, *tokens[:-1]), 0)
        chosen = torch.tensor(tokens, device=logits.device)[:, None]
        scores: list[float] = logits.float().log_softmax(-1).gather(1, chosen)[:, 0].tolist()
        return scores

    def empty_row(self) -> Row:
        """Return a row without tokens."""
        return Row(new_cache(self._model.config))

    @torch.inference_mode()
    def _run(self, row: Row, tokens: Sequence[int], logits: int) -> Tensor:
        """Logits [T, vocabulary] of the last `logits` tokens, or of all for 0."""
        ids = torch.tensor([tokens], dtype=torch.long, device=self.device)
        output = self._model(input_ids=ids, past_key_values=row.cache, use_cache=True, logits_to_keep=logits)
        result: Tensor = output.logits[0]
        return result
