"""What a benchmark yields and how it is written: one figure, one JSON line.

It owns the form of results, whether a figure holds its bar, and the record of machine and versions that
is committed with them.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "hybrid-assistant",
    "torch",
    "transformers",
    "peft",
    "faiss-cpu",
    "faiss-gpu",
    "tantivy",
    "kreuzberg",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a benchmark is run.

    `data` is the folder of public data, `quick` asks for about a minute. `only` names the parts to run
    (none: all), `gpu` asks for the parts that want a CUDA GPU; for benchmarks that have such. `cache` is a
    folder for embeddings, kept between runs; None keeps none.
    """

    data: Path
    quick: bool = False
    only: tuple[str, ...] = ()
    gpu: bool = False
    cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure.

    `at_least` or `at_most` is its bar; `aim` is what it tries for without a bar. `value` is None when
    it could not be measured, with the reason in `skipped`.
    """

    figure: str
    value: float | None
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None
    skipped: str = ""

    def __post_init__(self) -> None:
        assert self.at_least is None or self.at_most is None, "a figure has one bar"
        assert (self.value is None) == bool(self.skipped), "a figure has a value, or the reason why not"

    @property
    def bar(self) -> float | None:
        """The number to hold, whichever its direction."""
        return self.at_most if self.at_least is None else self.at_least

    @property
    def holds(self) -> bool | None:
        """Whether the bar holds; None without a bar or a value."""
        if self.value is None or self.bar is None:
            return None
        return self.value >= self.bar if self.at_least is not None else self.value <= self.bar

    def as_dict(self) -> dict[str, object]:
        """Return what is printed; `aim` and `skipped` only where they say something."""
        plain: dict[str, object] = {
            "figure": self.figure,
            "value": self.value,
            "unit": self.unit,
            "bar": self.bar,
            "holds": self.holds,
        }
        if self.aim is not None:
            plain["aim"] = self.aim
        if self.skipped:
            plain["skipped"] = self.skipped
        return plain

    def line(self) -> str:
        """Return the figure as one line of JSON."""
        return json.dumps(self.as_dict(), ensure_ascii=False)


def machine() -> dict[str, object]:
    """Describe where figures were measured: processor, cores, memory, versions."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": dict(_versions()),
    }


def save(name: str, figures: Sequence[Figure], *, quick: bool) -> Path:
    """Write a run's figures with machine and versions to `results/NAME.json`, and return that path."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    result = {
        "benchmark": name,
        "quick": quick,
        "machine": machine(),
        "figures": [f.as_dict() for f in figures],
    }
    file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def _processor() -> str:
    """Model name and, on x86, which wide arithmetic it has: that decides the best dtype."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    wide = [
        flag
        for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        if flag in fields.get("flags", "").split()
    ]
    return f"{fields.get('model name', platform.machine())} ({' '.join(wide) or 'plain'})"
