"""Tokens -> text that can be released: whole characters, and nothing of a stop string.

It owns what is held back while a request streams; it refuses to know what the text means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_UNFINISHED = "\ufffd"


class Detokenizer:
    """Incremental decoding: a token that ends inside a UTF-8 character yields nothing yet.

    Args:
        decode: tokens -> text, special tokens left out.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._window, self._released = 0, 0

    def add(self, token: int) -> str:
        """Add a token; returns the text that is now certain."""
        self._tokens.append(token)
        return self._advance(final=False)

    def flush(self) -> str:
        """Return what was held back, an unfinished character as U+FFFD."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        """Decode a window only: earlier tokens give the context that decoding of later ones needs."""
        before = self._decode(self._tokens[self._window : self._released])
        now = self._decode(self._tokens[self._window :])
        if len(now) <= len(before) or (now.endswith(_UNFINISHED) and not final):
            return ""
        self._window, self._released = self._released, len(self._tokens)
        return now[len(before) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Text to release, and whether a stop string ended it."""

    text: str
    stopped: bool = False


class StopStrings:
    """Ends a stream before any of the given strings; holds back what may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def add(self, text: str) -> Released:
        """Add text; returns the part that no stop string can still claim."""
        text = self._held + text
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return Released(text=text[: min(found)], stopped=True)
        keep = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return Released(text=text[: len(text) - keep])

    def flush(self) -> str:
        """Return what was held back: the stream ended, so it begins no stop string."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Length of the longest end of `text` that begins `stop`."""
        for size in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:size]):
                return size
        return 0
