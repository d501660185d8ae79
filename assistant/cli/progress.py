"""Progress of long work on standard error: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_PLAIN_LINES = 4
_PLAIN_EVERY_S = 60.0


class Report(Protocol):
    """What long work calls, now and then."""

    def __call__(self, done: int, total: int, latest: str, pace: str = "") -> None:
        """Say what is done of a total, a word about the latest, and how fast it goes."""
        ...


@contextmanager
def counting(label: str, unit: str, *, show: bool = True) -> Iterator[Report]:
    """Yield the function that reports progress of countable work."""
    if not show:
        yield _silent
        return
    if not sys.stderr.isatty():
        yield _plain(label, unit)
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=f" {unit}", leave=False, dynamic_ncols=True) as bar:

        def report(done: int, total: int, latest: str, pace: str = "") -> None:
            if pace:  # the work knows better than the bar how long the rest takes
                bar.bar_format = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {postfix}"
            bar.total = total
            bar.set_postfix_str(", ".join(filter(None, (pace, latest[-40:]))), refresh=False)
            bar.update(done - bar.n)

        yield report


def time_left(seconds: float) -> str:
    """Say roughly how long something will take: `40 s left`, `12 min left`, `3.5 h left`."""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 5400 else f"{seconds / 3600:.1f} h left"


def _silent(done: int, total: int, latest: str, pace: str = "") -> None:
    pass


def _plain(label: str, unit: str) -> Report:
    said, when = 0, time.monotonic()

    def report(done: int, total: int, latest: str, pace: str = "") -> None:
        nonlocal said, when
        quarter = done * _PLAIN_LINES // max(total, 1)
        if quarter > said or time.monotonic() - when > _PLAIN_EVERY_S:
            said, when = quarter, time.monotonic()
            words = f"{label} {done} of {total} {unit}"
            print(f"{words} ({pace})" if pace else words, file=sys.stderr, flush=True)

    return report
