from __future__ import annotations

import sys
from pathlib import Path

import pytest

from assistant.testing.tiny import tiny_adapter, tiny_model

sys.path.insert(0, str(Path(__file__).parent))  # served.py, the server of test_http


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("engine") / "tiny")


@pytest.fixture(scope="session")
def versions(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return tuple(tiny_adapter(folder / name, base, name, seed=n) for n, name in enumerate(("hr", "legal")))


@pytest.fixture(scope="session")
def base_digest(versions):
    return versions[0].base_digest
