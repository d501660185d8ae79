"""Quantiles of timings, and what a process holds in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec

P = ParamSpec("P")


def seconds(work: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> float:
    """Time one call."""
    start = time.perf_counter()
    work(*arguments, **named)
    return time.perf_counter() - start


def quantile(times: Sequence[float], share: float) -> float:
    """Return a quantile in milliseconds."""
    return round(1000 * sorted(times)[min(int(share * len(times)), len(times) - 1)], 2)


def resident_mb() -> dict[str, float]:
    """Memory of this process in MB: its own, and that of files it has mapped, shared between processes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    kinds = {"own": "RssAnon", "mapped": "RssFile"}
    return {kind: round(int(fields[name].split()[0]) / 1000, 1) for kind, name in kinds.items()}
