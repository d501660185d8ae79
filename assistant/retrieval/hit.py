"""What an index answers with; the same for both. It holds no text: that is read from the database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A chunk id with the score its index gave it."""

    id: int
    score: float
