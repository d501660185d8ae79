"""A tiny model without an end token and the ground of the engine benchmark on it."""

from __future__ import annotations

import pytest

from assistant.testing.tiny import tiny_model
from benchmarks import engine


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny model with so many layers that a step takes a measurable time."""
    return tiny_model(tmp_path_factory.mktemp("tiny") / "model", layers=12)


@pytest.fixture(scope="session")
def bench(tiny, tmp_path_factory):
    return engine.ground(tiny, tmp_path_factory.mktemp("ground"), quick=True)
