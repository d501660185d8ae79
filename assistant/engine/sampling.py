"""The ranges that a request's sampling may have, the same for every engine.

It owns the check and its messages; it draws nothing and refuses to correct what is out of range.
"""

from __future__ import annotations

import math

from assistant.engine.base import Sampling
from assistant.errors import BadRequest

MOST_LOGPROBS = 20
"""Alternatives that may be asked for with each token."""


def check(sampling: Sampling) -> None:
    """Refuse settings that no engine can honour.

    Raises:
        BadRequest: names the field, its value and its range.
    """
    ranges: tuple[tuple[str, bool, str], ...] = (
        ("temperature", 0 <= sampling.temperature < math.inf, "a number from 0"),
        ("top_p", 0 < sampling.top_p <= 1, "above 0, up to 1"),
        ("top_k", sampling.top_k >= 0, "a whole number from 0 (0: off)"),
        ("min_p", 0 <= sampling.min_p <= 1, "from 0 to 1"),
        ("seed", sampling.seed is None or -(2**63) <= sampling.seed < 2**63, "64 bits, signed"),
        ("repetition_penalty", 0 < sampling.repetition_penalty <= 10, "above 0, up to 10"),
        ("presence_penalty", -2 <= sampling.presence_penalty <= 2, "from -2 to 2"),
        ("logprobs", 0 <= (sampling.logprobs or 0) <= MOST_LOGPROBS, f"from 0 to {MOST_LOGPROBS}, or None"),
        ("stop", all(sampling.stop), "texts of at least one character"),
        ("max_tokens", sampling.max_tokens >= 1, "at least 1"),
    )
    for field, fits, allowed in ranges:
        if not fits:
            raise BadRequest(
                f"{field} is {getattr(sampling, field)!r}, which is out of range.",
                remedy=f"Give it {allowed}.",
            )
