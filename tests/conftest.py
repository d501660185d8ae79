"""Fixtures of the whole suite: the pulled models, and no network beyond this machine."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORKSPACE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def models_folder() -> Path:
    """The workspace's `var/models` with both embedded models, pulled once when they are missing."""
    from assistant.models.catalogue import BUILT_IN, DEFAULT_BASE, DEFAULT_EMBEDDER
    from assistant.models.progress import bars
    from assistant.models.pull import pull

    folder = WORKSPACE / "var" / "models"
    for name in (DEFAULT_BASE, DEFAULT_EMBEDDER):
        if not (folder / name / "manifest.json").is_file():
            with bars() as progress:
                pull(name, BUILT_IN[name], folder, progress=progress)
    return folder


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Refuse connections beyond loopback and look-ups of other names; pip runs in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _local_names(socket.getaddrinfo))
        yield


def _guarded(method):
    def call(self, *arguments):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(arguments[-1][0]):
            raise BlockedConnection(f"a test reached for {arguments[-1]}; only loopback is allowed")
        return method(self, *arguments)

    return call


def _local_names(method):
    def look_up(host, *arguments, **named):
        if host is not None and not _is_loopback(host):
            raise BlockedConnection(f"a test looked up {host!r}; only loopback is allowed")
        return method(host, *arguments, **named)

    return look_up


def _is_loopback(host) -> bool:
    host = host.decode() if isinstance(host, bytes) else host
    if host in ("localhost", "", "0.0.0.0", "::"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class BlockedConnection(OSError):
    """A test tried to leave this machine."""
