"""Files that are whole after a crash: the old one or the new one, and the names of both on disk.

It owns the order of writing, syncing and swapping. It refuses to know what the files hold.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_durably(file: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file beside and swap it in, both durable: after a crash it is the old or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Make what was written to a file durable."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
