"""Progress of long work on standard error: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int, str], None]
"""Called with what is done, the total, and a word about the latest."""

_PLAIN_LINES = 4


@contextmanager
def counting(label: str, unit: str, *, show: bool = True) -> Iterator[Report]:
    """Yield the function that reports progress of countable work."""
    if not show:
        yield lambda done, total, latest: None
        return
    if not sys.stderr.isatty():
        yield _plain(label, unit)
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit=f" {unit}", leave=False, dynamic_ncols=True) as bar:

        def report(done: int, total: int, latest: str) -> None:
            bar.total = total
            bar.set_postfix_str(latest[-40:], refresh=False)
            bar.update(done - bar.n)

        yield report


def _plain(label: str, unit: str) -> Report:
    said = 0

    def report(done: int, total: int, latest: str) -> None:
        nonlocal said
        quarter = done * _PLAIN_LINES // max(total, 1)
        if quarter > said:
            said = quarter
            print(f"{label} {done} of {total} {unit}", file=sys.stderr, flush=True)

    return report
