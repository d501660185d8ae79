"""Who may read the engine's figures, and that Prometheus' own parsers read them."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from assistant.api.metrics import COUNTERS, GAUGES, OUTCOMES
from assistant.engine.metrics import EngineStats, Metrics
from assistant.testing.engine import FakeEngine

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"


class Counting(FakeEngine):
    """The fake engine, with the counters of a real one."""

    def __init__(self):
        super().__init__()
        self.metrics = Metrics(cache_tokens=4096)

    def stats(self):
        return self.metrics.snapshot()


@pytest.fixture
def counting(served):
    engine = Counting()
    return engine.metrics, served(engine)


def samples(response):
    assert response.status_code == 200
    read = read_openmetrics if "openmetrics" in response.headers["content-type"] else read_text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in read(response.text)
        for sample in family.samples
        if not family.name.startswith("assistant_engine_info")
    }


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/plain", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text"],
)
def test_figures_are_what_the_engine_counted(counting, accept):
    metrics, service = counting
    metrics.step(seconds=0.5, batch_size=3, prompt_tokens=120, generated_tokens=2)
    metrics.step(seconds=0.25, batch_size=2, prompt_tokens=0, generated_tokens=2)
    metrics.state(waiting={"hr": 4, "": 1}, running=2, cache_tokens_used=300)
    metrics.adapters(loads=5, evictions=2, resident=3)
    metrics.looked_up(120, reused=80)
    metrics.first_token(0.75)
    for outcome in OUTCOMES:
        metrics.ended(outcome)
    metrics.ended("refused")
    found = samples(service.get("/metrics", "farid", headers={"Accept": accept}))
    expected = {
        ("waiting_requests", "hr"): 4,
        ("waiting_requests", "legal"): 0,
        ("waiting_requests", ""): 1,
        ("running_requests",): 2,
        ("batch_size",): 2,
        ("prompt_tokens_total",): 120,
        ("generated_tokens_total",): 4,
        ("cache_used_tokens",): 300,
        ("cache_size_tokens",): 4096,
        ("prefix_looked_up_tokens_total",): 120,
        ("prefix_reused_tokens_total",): 80,
        ("adapter_loads_total",): 5,
        ("adapter_evictions_total",): 2,
        ("resident_adapters",): 3,
        ("step_seconds_count",): 2,
        ("step_seconds_sum",): 0.75,
        ("first_token_seconds", "0.5"): 0.75,
        ("first_token_seconds", "0.95"): 0.75,
        ("requests_total", "finished"): 1,
        ("requests_total", "refused"): 2,
    }
    assert {key: found[(f"assistant_engine_{key[0]}", *key[1:])] for key in expected} == expected
    assert found[("assistant_engine_generated_tokens_per_second",)] > 0
    assert found[("process_resident_memory_bytes",)] > 1e6


def test_what_generates_is_named(counting):
    _, service = counting
    text = service.get("/metrics", "farid").text
    [line] = re.findall(r"^assistant_engine_info\{(.*)\} 1\.0$", text, re.M)
    assert 'engine="fake"' in line and f'base_digest="{service.app.engine.fingerprint.base_digest}"' in line


def test_before_the_first_answer_there_is_no_time_to_first_token(counting):
    _, service = counting
    found = samples(service.get("/metrics", "farid"))
    assert not [key for key in found if key[0] == "assistant_engine_first_token_seconds"]
    assert found[("assistant_engine_requests_total", "finished")] == 0


def test_an_engine_that_does_not_count_has_its_process(service):
    found = samples(service.get("/metrics", "farid"))
    assert ("process_cpu_seconds_total",) in found
    assert not [key for key in found if key[0].startswith("assistant_engine_")]
    assert "assistant_engine_info{" in service.get("/metrics", "farid").text


def test_they_are_for_those_who_may_manage(service):
    assert service.get("/metrics", "farid").status_code == 200
    refused = service.get("/metrics", "ana")
    assert refused.status_code == 403 and "manage" in refused.json()["error"]["message"]
    with service.client() as client:
        assert client.get("/metrics").status_code == 401
    _, portal = service.app.keys.create(kind="app", name="portal", acts_for=True)
    with service.client(portal) as client:
        assert client.get("/metrics").status_code == 400
        assert client.get("/metrics", headers={"X-Assistant-User": "farid"}).status_code == 200


def test_two_applications_share_no_figures(counting, service):
    """Nothing is registered in the library's global registry, which would mix them."""
    metrics, own = counting
    metrics.ended("finished")
    own.get("/metrics", "farid"), service.get("/metrics", "farid")
    assert b"assistant_" not in prometheus_client.generate_latest()


def test_every_figure_is_shown_and_documented():
    shown = {field for field, _ in (*GAUGES.values(), *COUNTERS.values())} | set(OUTCOMES)
    apart = {"waiting", "steps", "stepping_s", "step_s", "first_token_p50_s", "first_token_p95_s"}
    assert shown | apart == {field.name for field in fields(EngineStats)}
    text = DOCS.read_text(encoding="utf-8")
    names = [*GAUGES, *(f"{name}_total" for name in COUNTERS), "waiting_requests", "requests_total"]
    assert [name for name in names if f"`{name}`" not in text] == []
