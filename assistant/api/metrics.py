"""The engine's figures in Prometheus' form, for operators.

It owns the names of the metrics; it counts nothing itself and keeps no state between two readings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from assistant.app import App
from assistant.engine.metrics import EngineStats, Measured

PREFIX = "assistant_engine_"
GAUGES = {
    "running_requests": ("running", "requests that run"),
    "batch_size": ("batch_size", "rows of the last step"),
    "prompt_tokens_per_second": ("prompt_tokens_per_s", "prompt tokens computed a second, of late"),
    "generated_tokens_per_second": ("generated_tokens_per_s", "tokens generated a second, of late"),
    "cache_used_tokens": ("cache_tokens_used", "tokens whose keys and values are held"),
    "cache_size_tokens": ("cache_tokens_total", "tokens whose keys and values find room"),
    "resident_adapters": ("adapters_resident", "adapters in memory"),
}
COUNTERS = {
    "prompt_tokens": ("prompt_tokens", "prompt tokens computed"),
    "generated_tokens": ("generated_tokens", "tokens generated"),
    "prefix_looked_up_tokens": ("looked_up_tokens", "prompt tokens that might have been computed before"),
    "prefix_reused_tokens": ("reused_tokens", "prompt tokens that had been, and were used again"),
    "adapter_loads": ("adapter_loads", "adapters put into memory"),
    "adapter_evictions": ("adapter_evictions", "adapters pushed out of it by others"),
}
OUTCOMES = ("finished", "refused", "cancelled", "expired", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """The figures as text, and the form it is in."""

    text: bytes
    media_type: str


def exposition(app: App, accept: str = "") -> Exposition:
    """Read all figures: the process's, the engine's identity, and what it counts if it does.

    Args:
        accept: the reader's Accept header: Prometheus' text, or OpenMetrics.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Engine(app))
    encode, media_type = choose_encoder(accept)
    return Exposition(text=encode(registry), media_type=media_type)


class _Engine(Collector):
    """The figures of an application's engine, as they are when they are read."""

    def __init__(self, app: App) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        identity = self._app.engine.fingerprint
        yield InfoMetricFamily(
            "assistant_engine",
            "what generates",
            {
                "engine": identity.engine,
                "model": self._app.settings.models.base,
                "base_digest": identity.base_digest,
                "dtype": identity.dtype,
            },
        )
        if isinstance(self._app.engine, Measured):
            stats = self._app.engine.stats()
            waiting = {**dict.fromkeys(self._app.adapters.departments(), 0), **stats.waiting}
            yield from _labelled(waiting)
            yield from _figures(stats)


def _labelled(waiting: dict[str, int]) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        f"{PREFIX}waiting_requests", "requests that wait, by department", labels=("department",)
    )
    for department, count in sorted(waiting.items()):
        family.add_metric((department,), count)
    yield family


def _figures(stats: EngineStats) -> Iterator[Metric]:
    for name, (field, text) in GAUGES.items():
        yield GaugeMetricFamily(PREFIX + name, text, getattr(stats, field))
    for name, (field, text) in COUNTERS.items():
        yield CounterMetricFamily(PREFIX + name, text, getattr(stats, field))
    yield SummaryMetricFamily(f"{PREFIX}step_seconds", "steps, and their time", stats.steps, stats.stepping_s)
    ended = CounterMetricFamily(f"{PREFIX}requests", "requests that ended, by how", labels=("outcome",))
    for outcome in OUTCOMES:
        ended.add_metric((outcome,), getattr(stats, outcome))
    yield ended
    first = GaugeMetricFamily(
        f"{PREFIX}first_token_seconds", "time to the first token, of late", labels=("quantile",)
    )
    for quantile, value in (("0.5", stats.first_token_p50_s), ("0.95", stats.first_token_p95_s)):
        if value is not None:
            first.add_metric((quantile,), value)
    yield first
