"""The work that all sides do: prompts cut from the sample company's documents, and a model without an end.

It owns the prompts (real text, no two alike at the start) and the model folder that all sides read. It
refuses random tokens: a tokenizer's rare tokens would make text that no user sends.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.sides.base import Call

DOCUMENTS = Path(__file__).parents[2] / "examples" / "docs"
CONTEXT_TOKENS = (360, 400)
_WRITTEN = ("config.json", "generation_config.json", "tokenizer_config.json")


@dataclass(slots=True)
class Texts:
    """A long row of tokens of real text, handed out window by window, none twice until all were."""

    tokens: Sequence[int]
    place: int = 0

    @classmethod
    def read(cls, folder: Path) -> Texts:
        """Tokenize the sample company's Markdown documents with the tokenizer of a model folder."""
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        files = sorted(DOCUMENTS.rglob("*.md"))
        texts = (file.read_text(encoding="utf-8") for file in files)
        return cls(
            [token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).ids]
        )

    def window(self, length: int) -> tuple[int, ...]:
        """Return the next `length` tokens; past the end it begins anew, a few tokens further on."""
        if self.place + length > len(self.tokens):
            self.place = (self.place + length) % 17 + 1
        taken = tuple(self.tokens[self.place : self.place + length])
        assert len(taken) == length, f"the documents hold fewer than {length} tokens"
        self.place += length
        return taken


def contexts(
    texts: Texts, count: int, *, new_tokens: int, lengths: tuple[int, int] = CONTEXT_TOKENS, seed: int = 4
) -> list[Call]:
    """Return calls to the base with different contexts of between `lengths` tokens."""
    chance = random.Random(seed)
    return [Call(tokens=texts.window(chance.randint(*lengths)), new_tokens=new_tokens) for _ in range(count)]


def mixed(calls: Sequence[Call], adapters: int) -> list[Call]:
    """Return the same calls, call `n` to adapter `n mod adapters`."""
    return [
        Call(tokens=call.tokens, new_tokens=call.new_tokens, adapter=number % adapters)
        for number, call in enumerate(calls)
    ]


def endless(model: Path, folder: Path) -> Path:
    """Lay out a model's folder anew without any end-of-turn token, so that every side writes all tokens.

    Weights, tokenizer and manifest are links: all sides read the same bytes, and adapters stay tied to
    the same base. Only the settings that name an end are written anew.
    """
    folder.mkdir(parents=True)
    for file in model.iterdir():
        if file.name not in _WRITTEN:
            (folder / file.name).symlink_to(file.resolve())
    for name in _WRITTEN:
        if (model / name).is_file():
            _without_end(model / name, folder / name)
    return folder


def _without_end(file: Path, target: Path) -> None:
    settings = json.loads(file.read_text(encoding="utf-8"))
    for key in ("eos_token", "eos_token_id"):
        settings.pop(key, None)
    if file.name != "tokenizer_config.json":
        settings["eos_token_id"] = None
    target.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def shared_start(calls: Sequence[Call]) -> int:
    """Tokens that any two prompts have in common at their start, at most."""
    ordered = sorted(call.tokens for call in calls)
    return max((_common(one, next_one) for one, next_one in _neighbours(ordered)), default=0)


def _neighbours(ordered: Sequence[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    return zip(ordered, ordered[1:], strict=False)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
