"""The short form of `python -m benchmarks hostile`: seeded mutations and traps, nothing escapes or leaks."""

from pathlib import Path

import pytest

from assistant.errors import IngestError
from assistant.extraction.extract import Extractor, Limits
from benchmarks.hostile import _children, soaked
from benchmarks.parts.mutations import TRAPS, by_kind, hostile, seeds

DATA = Path(__file__).parents[1] / "data"


def test_mutated_files_are_read_or_refused_and_leave_nothing():
    before = _children()
    groups = by_kind(seeds([DATA]))
    with Extractor(workers=2, limits=Limits(timeout_s=30, memory_bytes=1 << 30)) as extractor:
        soak = soaked(extractor, range(100), groups)
        assert len(_children()) <= len(before) + 2
    assert soak.outcomes.total() == 100 and soak.outcomes["escaped"] == 0
    assert soak.outcomes["read"] > 20 and soak.outcomes["refused"] > 20
    assert soak.inexact == []
    assert 0 < soak.peak_bytes < 2 << 30
    assert _children() == before


def test_a_number_makes_one_file():
    groups = by_kind(seeds([DATA]))
    assert hostile(7, groups) == hostile(7, groups) != hostile(8, groups)


class Small:
    """Chance that makes every trap small."""

    @staticmethod
    def uniform(low, high):
        return 0.6

    @staticmethod
    def randrange(low, high):
        return low

    @staticmethod
    def randbytes(size):
        return bytes(range(256)) * (size // 256)


@pytest.mark.parametrize("name", sorted(TRAPS))
def test_every_trap_ends(extractor, name):
    data = TRAPS[name](Small())
    try:
        extracted = extractor.extract(data, f"trap.{name.split()[-1]}")
    except IngestError as error:
        assert "unforeseen" not in error.message and len(error.message) > 8
    else:
        assert extracted.text or extracted.members
