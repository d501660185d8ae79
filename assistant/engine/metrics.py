"""What an engine counts while it runs, and the figures people read.

It owns the counters and what is derived from them; it refuses to know how a step is made or how figures
are shown. The engine's thread records, any thread may read.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

Outcome = Literal["finished", "refused", "cancelled", "expired", "failed"]
"""How a request ended: complete, not taken (429), given up by its caller, past its deadline, by an error."""

WINDOW_S = 10.0
"""Seconds over which speeds are taken."""
_ANSWERS = 512
"""Latest answers whose time to first token counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """An engine's figures at one moment. Counts run from its start; `_per_s` are of the last seconds.

    `waiting` is by queue. `batch_size` and `step_s` are of the last step, `stepping_s` of all. The
    `first_token_` quantiles run from submission, over the latest answers; None before the first. Of
    `looked_up_tokens` (prompts that might have been computed before) `reused_tokens` were. Cache tokens are
    places for keys and values.
    """

    waiting: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    running: int = 0
    batch_size: int = 0
    step_s: float = 0.0
    steps: int = 0
    stepping_s: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    prompt_tokens_per_s: float = 0.0
    generated_tokens_per_s: float = 0.0
    first_token_p50_s: float | None = None
    first_token_p95_s: float | None = None
    cache_tokens_used: int = 0
    cache_tokens_total: int = 0
    reused_tokens: int = 0
    looked_up_tokens: int = 0
    adapter_loads: int = 0
    adapter_evictions: int = 0
    adapters_resident: int = 0
    finished: int = 0
    refused: int = 0
    cancelled: int = 0
    expired: int = 0
    failed: int = 0


@runtime_checkable
class Measured(Protocol):
    """An engine that counts."""

    def stats(self) -> EngineStats:
        """Return its figures as they stand."""
        ...


class Metrics:
    """The counters of one engine. Recording costs microseconds.

    Args:
        cache_tokens: places for keys and values in all.
        clock: monotonic seconds.
    """

    def __init__(self, *, cache_tokens: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._lock = threading.Lock()
        self._now = EngineStats(cache_tokens_total=cache_tokens)
        self._counts: Counter[str] = Counter()
        self._stepping_s = 0.0
        self._recent: deque[tuple[float, int, int]] = deque()
        self._first_tokens: deque[float] = deque(maxlen=_ANSWERS)

    def step(self, *, seconds: float, batch_size: int, prompt_tokens: int, generated_tokens: int) -> None:
        """Count a step: how long it took, the rows in it, and the tokens that it ran and drew."""
        now = self._clock()
        with self._lock:
            self._now = replace(self._now, step_s=seconds, batch_size=batch_size)
            self._stepping_s += seconds
            self._counts.update(steps=1, prompt_tokens=prompt_tokens, generated_tokens=generated_tokens)
            self._recent.append((now, prompt_tokens, generated_tokens))
            self._forget(now)

    def state(self, *, waiting: Mapping[str, int], running: int, cache_tokens_used: int) -> None:
        """Say how things stand after a step, and before a rest."""
        shown = MappingProxyType(dict(waiting))
        with self._lock:
            self._now = replace(
                self._now, waiting=shown, running=running, cache_tokens_used=cache_tokens_used
            )

    def adapters(self, *, loads: int, evictions: int, resident: int) -> None:
        """Say how many adapters were put into slots so far, were pushed out of them, and are there."""
        with self._lock:
            self._now = replace(
                self._now, adapter_loads=loads, adapter_evictions=evictions, adapters_resident=resident
            )

    def first_token(self, seconds: float) -> None:
        """Count a request's time from submission to its first token."""
        with self._lock:
            self._first_tokens.append(seconds)

    def looked_up(self, tokens: int, *, reused: int) -> None:
        """Count a prompt that could have been computed before, in part: its tokens, and those that were."""
        with self._lock:
            self._counts.update(looked_up_tokens=tokens, reused_tokens=reused)

    def ended(self, outcome: Outcome) -> None:
        """Count a request that ended."""
        with self._lock:
            self._counts[outcome] += 1

    def snapshot(self) -> EngineStats:
        """Return the figures as they stand."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            window_s = max(min(WINDOW_S, now - self._began), 1.0)
            times = sorted(self._first_tokens)
            counts: dict[str, Any] = dict(self._counts)
            return replace(
                self._now,
                **counts,
                stepping_s=self._stepping_s,
                prompt_tokens_per_s=sum(prompt for _, prompt, _ in self._recent) / window_s,
                generated_tokens_per_s=sum(generated for _, _, generated in self._recent) / window_s,
                first_token_p50_s=_quantile(times, 0.5),
                first_token_p95_s=_quantile(times, 0.95),
            )

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - WINDOW_S:
            self._recent.popleft()


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least a share of all do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None
