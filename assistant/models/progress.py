"""Progress of a pull: the shape of its reports, and bars that show them.

It owns how progress looks on a terminal; it refuses to know what progresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with a label, what is done, and the total (0 when unknown): bytes."""


def silent(label: str, done: int, total: int) -> None:
    """Show nothing."""


@contextmanager
def bars(*, show: bool = True) -> Iterator[Progress]:
    """Show each label as a bar on standard error, one after another.

    Args:
        show: False shows nothing, for output that a program reads.
    """
    from tqdm import tqdm

    current: tqdm | None = None

    def report(label: str, done: int, total: int) -> None:
        nonlocal current
        if current is None or current.desc != label:
            if current is not None:
                current.close()
            current = tqdm(total=total or None, unit="B", unit_scale=True, disable=not show)
            current.set_description_str(label)
        current.total = total or None
        current.update(done - current.n)

    try:
        yield report
    finally:
        if current is not None:
            current.close()
