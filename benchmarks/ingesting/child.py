"""A measured process: what it prints at its end, and the most memory that it and its children held.

Memory is the proportional set size, so that pages shared by a process and its children count once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT

NO_BASELINES = "no environment for it: `make bench-baselines` makes one, or set BASELINES_PYTHON"
_EVERY_S = 0.2


class Failed(Exception):
    """The process did not end well; the message is its last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The last line it printed, as JSON, and its peak memory in bytes."""

    said: Mapping[str, Any]
    peak_bytes: int


def baselines() -> Path | None:
    """Return the Python of the environment that holds the other frameworks, if there is one."""
    file = Path(os.environ.get("BASELINES_PYTHON", ROOT / ".venv-baselines" / "bin" / "python"))
    return file if file.is_file() else None


def run_baseline(command: Sequence[str], **more: str) -> Ended:
    """Run a command of that environment: without a model hub, and only its result on its output."""
    quiet = {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}
    return run(command, env={**os.environ, **quiet, **more})


def run(command: Sequence[str], *, env: Mapping[str, str]) -> Ended:
    """Run a command to its end.

    Raises:
        Failed: it ended with an error, or printed no JSON.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(env)
    )
    peak = 0
    try:
        while process.poll() is None:
            peak = max(peak, sum(map(_size_bytes, _family(process.pid))))
            time.sleep(_EVERY_S)
        out, error = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    lines = out.strip().splitlines()
    if process.returncode or not lines:
        last = (error.strip().splitlines() or ["it said nothing"])[-1]
        raise Failed(f"{Path(command[0]).name} ended with {process.returncode}: {last}")
    print(error, end="", file=sys.stderr)
    return Ended(said=json.loads(lines[-1]), peak_bytes=peak)


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _size_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
