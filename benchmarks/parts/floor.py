"""The least a decode step can take on this machine, and what share of that the engine reaches.

A step must read every weight, every row's keys and values and the adapters in use, and do its products;
at the measured copy and matmul rates the longer of the two is the floor. It owns that count; it refuses
to count what an implementation adds (norms, softmax, copies, Python).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.parts.bench import Bench
from benchmarks.rates import Rates, width
from benchmarks.sides.base import Call

RANK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a decode step of a Llama-shaped model depends on."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int

    @classmethod
    def read(cls, folder: Path) -> Size:
        """Read a model folder's configuration."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(
            hidden=config["hidden_size"],
            inner=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            key_heads=config["num_key_value_heads"],
            head=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
            vocabulary=config["vocab_size"],
        )

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of one layer's linear products."""
        queries, keys = self.heads * self.head, self.key_heads * self.head
        return (
            (self.hidden, queries),
            (self.hidden, keys),
            (self.hidden, keys),
            (queries, self.hidden),
            (self.hidden, self.inner),
            (self.hidden, self.inner),
            (self.inner, self.hidden),
        )

    @property
    def weights(self) -> int:
        """Weights of all linear products, the output head included."""
        return self.layers * sum(i * o for i, o in self.products) + self.vocabulary * self.hidden

    @property
    def adapter(self) -> int:
        """Weights of an adapter of rank 1 on all linear layers."""
        return self.layers * sum(i + o for i, o in self.products)

    @property
    def key_values(self) -> int:
        """Numbers kept for one token of context."""
        return 2 * self.layers * self.key_heads * self.head

    def kept_mb(self, calls: Sequence[Call]) -> int:
        """Memory to keep the prompts of all calls, in fp32, with room to spare."""
        tokens = sum(len(call.tokens) for call in calls)
        return 1 + int(1.1 * 4 * tokens * self.key_values / 2**20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Bytes and operations of one decode step, or of a whole work."""

    bytes: int
    operations: int

    @classmethod
    def of(cls, size: Size, calls: Sequence[Call], *, bytes_per_number: int, rank: int = RANK) -> Floor:
        """Count a step in which all calls decode, each half way through its new tokens."""
        context = sum(len(call.tokens) + call.new_tokens // 2 for call in calls)
        adapted = sum(call.adapter is not None for call in calls)
        adapters = len({call.adapter for call in calls} - {None})
        numbers = size.weights + context * size.key_values + adapters * rank * size.adapter
        attention = 4 * context * size.layers * size.heads * size.head
        operations = 2 * len(calls) * size.weights + attention + 2 * adapted * rank * size.adapter
        return cls(bytes=numbers * bytes_per_number, operations=operations)

    @classmethod
    def whole(cls, size: Size, calls: Sequence[Call], *, rank: int = RANK) -> Floor:
        """Count the operations of all calls from their first token to their last; bytes are left out.

        Each prompt's tokens see those before them; only tokens that are followed by a new one reach the head.
        """
        head = size.vocabulary * size.hidden
        operations = 0
        for call in calls:
            tokens = len(call.tokens) + call.new_tokens - 1
            body = size.weights - head + (0 if call.adapter is None else rank * size.adapter)
            attention = 2 * tokens**2 * size.layers * size.heads * size.head
            operations += 2 * tokens * body + 2 * call.new_tokens * head + attention
        return cls(bytes=0, operations=operations)

    def seconds(self, rates: Rates, dtype: str) -> float:
        """Return the longer of reading and multiplying."""
        return max(self.bytes / rates.copy, self.operations / rates.of(dtype))


def figures(bench: Bench, calls: Sequence[Call], dtype: str, step_s: float, name: str) -> Iterator[Figure]:
    """Yield the floor of a measured step, and the share reached."""
    floor = Floor.of(Size.read(bench.folder), calls, bytes_per_number=width(dtype))
    yield bench.figure(f"floor_{name}_bytes", floor.bytes / 1e9, "GB")
    yield bench.figure(f"floor_{name}_operations", floor.operations / 1e9, "GFLOP")
    yield bench.figure(f"floor_{name}_copying", 1000 * floor.bytes / bench.rates.copy, "ms")
    yield bench.figure(f"floor_{name}_multiplying", 1000 * floor.operations / bench.rates.of(dtype), "ms")
    share = floor.seconds(bench.rates, dtype) / step_s
    yield bench.figure(f"floor_{name}_share_reached", share, "share")
