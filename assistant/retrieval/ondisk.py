"""How derived indexes keep files that several processes share: one writer, swaps, and checksums.

It owns the lock that says who writes, small JSON states that are replaced as a whole, and the sums that
tell a damaged file. It refuses to know what the files hold.
"""

from __future__ import annotations

import fcntl
import json
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from assistant.durable import write_durably

_BLOCK_BYTES = 1 << 20
_POLL_S = 0.02


@contextmanager
def locked(file: Path, wait_s: float = 0.0) -> Iterator[bool]:
    """Hold the lock of a file between processes; yields False when others still hold it after `wait_s`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(_POLL_S)
        yield True


def checksum(file: Path) -> int:
    """Return the CRC-32 of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return value


def replace_json(file: Path, state: Mapping[str, object]) -> None:
    """Write a state beside and swap it in, durable before it returns.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    write_durably(file, json.dumps(state).encode(), mode=0o666)


def numbers(folder: Path) -> dict[str, int]:
    """Return the change number of each index that is saved in a folder, by name, without opening any."""
    found = {}
    for file in sorted(folder.glob("*/state.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found[file.parent.name] = int(json.loads(file.read_text(encoding="utf-8"))["number"])
    return found
