"""A real vLLM server in its own environment: `make test-vllm`. `make test` collects nothing here."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.adapters.registry import Registry
from assistant.config import HttpEngine as HttpSettings
from assistant.engine.http import HttpEngine
from assistant.models.catalogue import DEFAULT_BASE

sys.path.insert(0, str(Path(__file__).parent))  # vllm_server.py

from vllm_server import CONTEXT, MAX_RANK, MODEL, VllmServer  # noqa: E402

PYTHON = os.environ.get("VLLM_PYTHON", "")
WORKSPACE = Path(__file__).resolve().parents[2]

collect_ignore_glob = [] if PYTHON else ["test_*.py"]


@pytest.fixture(scope="session")
def model(models_folder):
    return models_folder / DEFAULT_BASE


@pytest.fixture(scope="session")
def server(model, tmp_path_factory) -> Iterator[VllmServer]:
    one = VllmServer(Path(PYTHON).absolute(), model, tmp_path_factory.mktemp("vllm"))
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))  # so that it is stopped then, too
    try:
        one.start()
        one.wait()
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="session")
def versions():
    """Two trained adapters of the sample company."""
    registry = Registry(WORKSPACE / "adapters")
    return tuple(registry.resolve(name) for name in ("hr", "legal"))


@pytest.fixture(scope="class")
def run():
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="class")
def connect(run, server, model):
    """Engines on that server; closed at the end."""
    engines = []

    def make(**changes) -> HttpEngine:
        settings = HttpSettings(
            kind="http", url=server.url, model=MODEL, context_tokens=CONTEXT, max_lora_rank=MAX_RANK,
            **{"timeout_s": 600.0, "reconnect_s": 0.0, **changes},
        )  # fmt: skip
        engines.append(HttpEngine.connect(settings, folder=model))
        return engines[-1]

    yield make
    for engine in engines:
        run(engine.close())
