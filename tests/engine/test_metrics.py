from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError

import pytest

from assistant.engine.metrics import EngineStats, Metrics


class Clock:
    def __init__(self):
        self.now = 500.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics(clock):
    return Metrics(cache_tokens=4096, clock=clock)


def test_nothing_has_happened_yet(metrics):
    stats = metrics.snapshot()
    assert stats == EngineStats(cache_tokens_total=4096)
    assert stats.first_token_p95_s is None and stats.waiting == {}


def test_steps_are_counted(metrics):
    metrics.step(seconds=0.25, batch_size=3, prompt_tokens=100, generated_tokens=2)
    metrics.step(seconds=0.5, batch_size=2, prompt_tokens=0, generated_tokens=2)
    stats = metrics.snapshot()
    assert (stats.steps, stats.batch_size, stats.step_s, stats.stepping_s) == (2, 2, 0.5, 0.75)
    assert (stats.prompt_tokens, stats.generated_tokens) == (100, 4)


def test_speeds_are_those_of_the_last_seconds(metrics, clock):
    for _ in range(40):
        clock.now += 0.5
        metrics.step(seconds=0.5, batch_size=8, prompt_tokens=50, generated_tokens=8)
    stats = metrics.snapshot()
    assert stats.generated_tokens_per_s == pytest.approx(16, rel=0.06)
    assert stats.prompt_tokens_per_s == pytest.approx(100, rel=0.06)
    clock.now += 5
    assert metrics.snapshot().generated_tokens_per_s == pytest.approx(8, rel=0.15)
    clock.now += 6
    idle = metrics.snapshot()
    assert (idle.generated_tokens_per_s, idle.prompt_tokens_per_s) == (0, 0)
    assert idle.generated_tokens == 320


def test_a_young_engines_speed_is_over_its_life(metrics, clock):
    clock.now += 2
    metrics.step(seconds=2, batch_size=1, prompt_tokens=0, generated_tokens=30)
    assert metrics.snapshot().generated_tokens_per_s == pytest.approx(15)


def test_what_is_kept_for_speeds_is_bounded(metrics, clock):
    for _ in range(5000):
        clock.now += 0.01
        metrics.step(seconds=0.01, batch_size=1, prompt_tokens=0, generated_tokens=1)
    assert len(metrics._recent) <= 1002


def test_how_things_stand_is_said_not_counted(metrics):
    waiting = {"hr": 2, "legal": 1}
    metrics.state(waiting=waiting, running=5, cache_tokens_used=700)
    waiting["hr"] = 9  # the caller's own, still changing
    metrics.adapters(loads=12, evictions=4, resident=8)
    stats = metrics.snapshot()
    assert stats.waiting == {"hr": 2, "legal": 1} and stats.running == 5
    assert (stats.cache_tokens_used, stats.cache_tokens_total) == (700, 4096)
    assert (stats.adapter_loads, stats.adapter_evictions, stats.adapters_resident) == (12, 4, 8)
    metrics.state(waiting={}, running=0, cache_tokens_used=0)
    assert (metrics.snapshot().waiting, metrics.snapshot().running) == ({}, 0)


def test_times_to_the_first_token(metrics):
    for hundredth in range(1, 101):
        metrics.first_token(hundredth / 100)
    stats = metrics.snapshot()
    assert (stats.first_token_p50_s, stats.first_token_p95_s) == (0.5, 0.95)
    for _ in range(600):  # only the latest count
        metrics.first_token(7.0)
    assert metrics.snapshot().first_token_p50_s == 7.0
    one = Metrics()
    one.first_token(0.3)
    assert (one.snapshot().first_token_p50_s, one.snapshot().first_token_p95_s) == (0.3, 0.3)


def test_reuse_and_ends_are_counted(metrics):
    metrics.looked_up(400, reused=0)
    metrics.looked_up(400, reused=220)
    for outcome in ("finished", "finished", "refused", "cancelled", "expired", "failed"):
        metrics.ended(outcome)
    stats = metrics.snapshot()
    assert (stats.looked_up_tokens, stats.reused_tokens) == (800, 220)
    assert (stats.finished, stats.refused, stats.cancelled, stats.expired, stats.failed) == (2, 1, 1, 1, 1)


def test_a_snapshot_does_not_change(metrics):
    before = metrics.snapshot()
    metrics.ended("finished")
    assert before.finished == 0
    with pytest.raises(FrozenInstanceError):
        before.finished = 3
    with pytest.raises(TypeError):
        before.waiting["hr"] = 1


def test_it_is_read_while_it_is_written(metrics):
    """Each step draws as many tokens as it runs: a snapshot from within a step would show a difference."""
    done = threading.Event()

    def write():
        for _ in range(3000):
            metrics.step(seconds=0.001, batch_size=1, prompt_tokens=3, generated_tokens=3)
            metrics.ended("finished")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set():
        stats = metrics.snapshot()
        assert stats.prompt_tokens == stats.generated_tokens == 3 * stats.steps
        assert stats.steps - stats.finished in (0, 1) and stats.steps >= seen
        seen = stats.steps
    writer.join()
    assert metrics.snapshot().finished == 3000


def test_figures_need_no_torch():
    """Metrics and queues are read where no model is: neither may load torch."""
    code = (
        "import sys, assistant.engine.metrics, assistant.engine.queues, assistant.engine.sampling; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
