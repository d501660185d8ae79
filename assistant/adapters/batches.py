"""Examples -> token batches: what is shared, what is each example's own, and where the loss falls.

It owns encoding and grouping; it refuses to shorten an example silently.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assistant.adapters.curate import Example
from assistant.errors import ConfigError
from assistant.types import Message

Render = Callable[[Example], tuple[Message, ...]]
"""An example's prompt, laid out as it will be when serving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One example in tokens, without the prefix that all examples share.

    `tokens` are the rest of the prompt and the answer; the last `answer` of them carry the loss.
    """

    tokens: tuple[int, ...]
    answer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSet:
    """All examples and their common first tokens (system prompt and style)."""

    prefix: tuple[int, ...]
    examples: tuple[Encoded, ...]

    @property
    def token_count(self) -> int:
        """Tokens of all examples, prefixes counted each time, as a plain loop would run them."""
        return sum(len(self.prefix) + len(example.tokens) for example in self.examples)


def encode(
    examples: Sequence[Example],
    render: Render,
    *,
    prompt: Callable[[Sequence[Message]], list[int]],
    completion: Callable[[str], list[int]],
    limit: int,
) -> EncodedSet:
    """Encode examples.

    Args:
        prompt: messages -> tokens, generation header included.
        completion: answer -> tokens, end-of-turn token included.
        limit: longest example in tokens.

    Raises:
        ConfigError: an example is longer than `limit`.
    """
    rows: list[tuple[list[int], list[int]]] = []
    for number, example in enumerate(examples, 1):
        row = prompt(render(example)), completion(example.answer)
        if len(row[0]) + len(row[1]) > limit:
            raise ConfigError(
                f"Example {number} has {len(row[0]) + len(row[1])} tokens, more than {limit}.",
                remedy="Shorten its passages or answer.",
            )
        rows.append(row)
    shared = _shared([head for head, _ in rows])
    return EncodedSet(
        prefix=tuple(rows[0][0][:shared]),
        examples=tuple(
            Encoded(tokens=tuple(head[shared:] + answer), answer=len(answer)) for head, answer in rows
        ),
    )


def _shared(rows: Sequence[list[int]]) -> int:
    """Length of the longest common start that leaves each row at least one token."""
    shortest = min(len(row) for row in rows) - 1
    for position in range(shortest):
        if len({row[position] for row in rows}) > 1:
            return position
    return shortest


def batches(examples: Sequence[Encoded], size: int, chance: random.Random) -> list[list[int]]:
    """One epoch: positions grouped by similar length, groups in random order, ties and edges jittered."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].tokens) + chance.uniform(0, 16))
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    chance.shuffle(groups)
    return groups
