"""The base model in this process: it runs spans of tokens and returns their logits.

It owns the copies of the weights (one, or one for prompts and one for decoding where that is faster), the
cache of keys and values and the choice of path. It refuses to know of queues, text or sampling.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assistant.engine.arithmetic import Arithmetic, Choice, Prepack, choose, choose_device
from assistant.engine.cache import KeyValues
from assistant.engine.kernels import kernels
from assistant.engine.lanes import Lane, size_for
from assistant.engine.network import Network, agrees, cache_shape, reads_everything
from assistant.engine.plain import PlainNetwork
from assistant.engine.plan import Span
from assistant.errors import ModelError

_MANY = 48
"""From so many tokens on, a step runs in the arithmetic that is best for prompts."""


log = logging.getLogger(__name__)


class Logits:
    """What a step gave: rows [vocabulary], and the number of the span to which each belongs."""

    def __init__(self, rows: Tensor, owners: Sequence[int]) -> None:
        self.rows, self.owners = rows, owners


class Model:
    """A causal language model with room for keys, values and adapters. One thread uses it.

    Args:
        networks: for prompts and for decoding; may be the same.
        cache_bytes: room for keys and values; at least one full context is taken.
    """

    def __init__(
        self, prefill: Network | PlainNetwork, decode: Network | PlainNetwork, *, config: Any,  # noqa: ANN401
        cache_bytes: int, batch_size: int,
    ) -> None:  # fmt: skip
        self._prefill, self._decode = prefill, decode
        self.context_tokens = int(config.max_position_embeddings)
        self.vocabulary = int(config.vocab_size)
        self.device = decode.device
        shape = cache_shape(config, decode.dtype, decode.device)
        places = _places(cache_bytes, shape.token_bytes, self.context_tokens, batch_size)
        self.cache = KeyValues(shape, places, self.context_tokens)
        self.networks = (decode,) if prefill is decode else (decode, prefill)

    @classmethod
    def load(
        cls, folder: Path, *, dtype: str, device: str, prepack: Prepack, slots: int,
        cache_bytes: int | None, batch_size: int, compiled: bool = True,
    ) -> tuple[Model, Choice]:  # fmt: skip
        """Read a model folder; return it with the arithmetic that was chosen.

        Raises:
            ModelError: the files are missing, damaged or of no known architecture.
        """
        from transformers import AutoConfig

        device = choose_device(device)
        with _reading(folder):
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
        inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        choice = choose(dtype, prepack, device, config.hidden_size, inner)
        load = partial(_network, folder, device=device, slots=slots, compiled=compiled)
        decode = load(choice.decode)
        prefill = decode if choice.prefill == choice.decode else load(choice.prefill)
        size = _free_bytes(device) // 4 if cache_bytes is None else cache_bytes
        return cls(prefill, decode, config=config, cache_bytes=size, batch_size=batch_size), choice

    @property
    def compiled(self) -> bool:
        """Whether our own kernels are in use."""
        return any(isinstance(network, Network) and network.kernels for network in self.networks)

    @property
    def narrow(self) -> bool:
        """Whether a few rows read weights in bfloat16 where more read them in float32."""
        return any(isinstance(network, Network) and network.narrow for network in self.networks)

    @property
    def shares(self) -> bool:
        """Whether computations can be copied from one request to another."""
        return not any(isinstance(network, PlainNetwork) for network in self.networks)

    @torch.inference_mode()
    def run(self, spans: Sequence[Span]) -> Logits:
        """Run tokens of several requests in one pass."""
        many = sum(len(span.tokens) for span in spans) >= _MANY
        network = self._prefill if many else self._decode
        if isinstance(network, PlainNetwork):
            return Logits(*network.run(spans))
        layout = network.lay_out(spans, self.cache)
        return Logits(network.run(layout, self.cache), layout.owners)

    def take(self, places: int) -> Lane | None:
        """Room for a request of so many tokens, or None while there is none."""
        return self.cache.lanes.take(places)

    def give_back(self, lane: Lane) -> None:
        """Free a request's room."""
        self.cache.lanes.give_back(lane)
        for network in self.networks:
            if isinstance(network, PlainNetwork):
                network.forget(lane)


def _network(
    folder: Path, arithmetic: Arithmetic, *, device: str, slots: int, compiled: bool
) -> Network | PlainNetwork:
    """Read the weights and choose the path: the plan's, if it gives what transformers' own forward gives."""
    model = _read(folder, arithmetic.dtype, device)
    if not reads_everything(model.config):
        return PlainNetwork(model, slots=slots)
    with torch.inference_mode():
        probe = torch.randint(model.config.vocab_size, (24,), generator=torch.Generator().manual_seed(0))
        wanted = model(input_ids=probe[None].to(device), use_cache=False).logits[0].float()
        own = kernels(arithmetic.dtype) if compiled and device == "cpu" else None
        copies = 2 * model.get_memory_footprint() < _free_bytes(device)
        for tried in dict.fromkeys((own, None)):
            network = Network(model, packed=arithmetic.packed, slots=slots, kernels=tried, copies=copies)
            if agrees(network, probe.tolist(), wanted):
                if tried is not own:
                    log.warning("The kernels do not fit this model: PyTorch's operators are used (slower).")
                return network
            model = _read(folder, arithmetic.dtype, device)
    return PlainNetwork(model, slots=slots)


def _read(folder: Path, dtype: torch.dtype, device: str) -> Any:  # noqa: ANN401 - untyped
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with _reading(folder):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).to(device)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded: {error}", remedy="Run `assistant models pull`."
        ) from error


def _places(size_bytes: int, token_bytes: int, context_tokens: int, batch_size: int) -> int:
    """Tokens of room: what the memory holds, one full context at least, no more than all rows can use."""
    most = size_for(context_tokens) * batch_size
    return max(size_for(context_tokens), min(size_bytes // token_bytes, most))


def _free_bytes(device: str) -> int:
    if device != "cpu":
        return int(torch.cuda.mem_get_info()[0])
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text(encoding="utf-8").splitlines() if meminfo.is_file() else []
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 4 << 30)
