"""Messages and text <-> tokens, by the base model's tokenizer and chat template.

It owns rendering; it refuses to let a message's content forge a turn: a special token spelled out in
content is broken apart before the template sees it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from assistant.errors import ModelError
from assistant.types import Message


class ChatTokenizer:
    """The tokenizer of one model folder. Safe to share between threads: nothing in it changes."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self._template = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"The tokenizer in {folder} cannot be loaded: {error}", remedy="Run `assistant models pull`."
            ) from error
        if not self._template.chat_template:
            raise ModelError(f"{folder} has no chat template.", remedy="Choose an instruction-tuned model.")
        self._tokens = self._template.backend_tokenizer
        added = self._template.added_tokens_decoder.values()
        self._special = tuple(token.content for token in added if token.special)
        ends = (self._template.eos_token_id, *_ends(folder))
        self.ends = frozenset(int(end) for end in ends if end is not None)

    def count(self, text: str) -> int:
        """Return number of tokens of `text`, without special tokens."""
        return len(self._tokens.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`; special tokens spelled out in it are not recognised."""
        return list(self._tokens.encode(self._broken(text), add_special_tokens=False).ids)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a whole prompt, generation header included."""
        begun = messages[-1].content if messages and messages[-1].role == "assistant" else ""
        asked = messages[:-1] if begun else messages
        turns = [{"role": turn.role, "content": self._broken(turn.content)} for turn in asked]
        text = self._template.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        text += self._broken(begun)
        return list(self._tokens.encode(text, add_special_tokens=False).ids)

    def shared(self, messages: Sequence[Message], prompt: Sequence[int]) -> int:
        """How many of a prompt's first tokens are what `messages` alone would be rendered to."""
        from jinja2 import TemplateError

        turns = [{"role": turn.role, "content": self._broken(turn.content)} for turn in messages]
        try:
            text = self._template.apply_chat_template(turns, tokenize=False, add_generation_prompt=False)
        except TemplateError:  # some templates refuse a conversation without a question
            return 0
        alone = self._tokens.encode(text, add_special_tokens=False).ids
        pairs = zip(alone, prompt, strict=False)
        return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(alone), len(prompt)))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special tokens left out."""
        return str(self._tokens.decode(list(tokens), skip_special_tokens=True))

    def _broken(self, text: str) -> str:
        return broken(text, self._special)


def broken(text: str, special: Sequence[str]) -> str:
    """`text` with a space inside each special token spelled out in it, so that it is plain text again."""
    for token in special:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _ends(folder: Path) -> list[int]:
    """End-of-turn tokens that the model's own generation settings name."""
    file = folder / "generation_config.json"
    if not file.is_file():
        return []
    ends = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    return ends if isinstance(ends, list) else [ends]
