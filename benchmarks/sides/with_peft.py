"""PEFT: a mixed batch by `adapter_names`, and one request at a time, the reference of what is right.

It owns that side's loading and calling; it refuses to merge adapters.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assistant.types import AdapterVersion
from benchmarks.sides.base import Call, Record
from benchmarks.sides.with_transformers import batch, load, padded

_BASE = "__base__"


class Mixed:
    """A PEFT model that serves a batch of calls to different adapters."""

    def __init__(
        self, folder: Path, versions: Sequence[AdapterVersion], dtype: str, *, device: str = "cpu"
    ) -> None:
        self.dtype, self.device = dtype, device
        self.model = adapted(load(folder, dtype, device), versions)

    @property
    def name(self) -> str:
        """Its name in figures."""
        return f"peft_mixed_{self.dtype}"

    def run(self, calls: Sequence[Call]) -> Record:
        """Generate for all calls as one batch, each row with its adapter."""
        names = [_BASE if call.adapter is None else str(call.adapter) for call in calls]
        return batch(self.model, calls, device=self.device, adapter_names=names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A greedy completion, and at each token how far the best logit stood above the second best."""

    tokens: tuple[int, ...]
    margins: tuple[float, ...]


class OneByOne:
    """PEFT with one active adapter and a batch of one: nothing in it is mixed."""

    def __init__(self, folder: Path, versions: Sequence[AdapterVersion], dtype: str = "float32") -> None:
        self.model = adapted(load(folder, dtype, "cpu"), versions)

    def complete(self, call: Call) -> Reference:
        """Greedy tokens of one call, with margins."""
        from transformers import GenerationConfig

        settings = GenerationConfig(
            max_new_tokens=call.new_tokens,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
        )
        ids, mask = padded([call])
        with torch.inference_mode(), self._active(call.adapter):
            out = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        best = torch.stack(out.logits)[:, 0].float().topk(2).values
        return Reference(
            tokens=tuple(out.sequences[0, ids.shape[1] :].tolist()),
            margins=tuple((best[:, 0] - best[:, 1]).tolist()),
        )

    def logprobs(self, prompt: Sequence[int], completion: Sequence[int], adapter: int | None) -> list[float]:
        """Log-probability of each token of `completion`, by one plain forward pass."""
        ids = torch.tensor([[*prompt, *completion]])
        with torch.inference_mode(), self._active(adapter):
            logits = self.model(input_ids=ids, use_cache=False).logits[0].float()
        chosen = logits[len(prompt) - 1 : -1].log_softmax(-1)
        return [float(row[token]) for row, token in zip(chosen, completion, strict=True)]

    def _active(self, adapter: int | None) -> Any:  # noqa: ANN401 - peft is untyped
        if adapter is None:
            return self.model.disable_adapter()
        self.model.set_adapter(str(adapter))
        return nullcontext()


def adapted(model: Any, versions: Sequence[AdapterVersion]) -> Any:  # noqa: ANN401 - peft is untyped
    """Return the model with every version inside, adapter `n` under the name `str(n)`."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", "Already found a `peft_config`")
        wrapped = PeftModel.from_pretrained(
            model, versions[0].path, adapter_name="0", autocast_adapter_dtype=False
        )
        for number, version in enumerate(versions[1:], start=1):
            wrapped.load_adapter(version.path, adapter_name=str(number), autocast_adapter_dtype=False)
    return wrapped.to(next(model.parameters()).dtype).eval()
