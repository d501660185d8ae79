"""How much of a prompt may run in one step, so that the others' next token does not wait too long.

It owns the measured speed and the rule; it refuses to see requests. Chunked prefill: Sarathi-Serve
(Agrawal et al. 2024).
"""

from __future__ import annotations

import math

_LEAST, _MOST, _UNKNOWN = 32, 512, 256
_OLDER = 0.7


class Pace:
    """Tokens of prompts for a step, from what earlier steps took.

    Args:
        longest_pause_s: how long a step may keep decoding requests waiting, when few wait behind it.
    """

    def __init__(self, longest_pause_s: float) -> None:
        self._pause_s = longest_pause_s
        self._token_s: float | None = None

    def budget(self, decoding: int, waiting: int) -> int:
        """Tokens of prompts that may run now.

        The pause grows with the number of requests that wait for their first token, for each one that
        waits for its next: the more wait, the more it matters that prompts run at full speed.
        """
        if not decoding:
            return _MOST
        if self._token_s is None:
            return _UNKNOWN
        pause_s = self._pause_s * (1 + waiting / decoding)
        return max(_LEAST, min(_MOST, int(pause_s / self._token_s)))

    def piece(self, left: int, budget: int) -> int:
        """How much of a prompt's `left` tokens to run, about `budget`: pieces of like size, no crumbs."""
        return math.ceil(left / max(1, round(left / budget)))

    def ran(self, seconds: float, *, decoding: int, prompt_tokens: int) -> None:
        """Learn from a step with a prompt in it; a decoding row counts as one more token."""
        if prompt_tokens < _LEAST:
            return
        token_s = seconds / (prompt_tokens + decoding)
        self._token_s = token_s + ((self._token_s or token_s) - token_s) * _OLDER
