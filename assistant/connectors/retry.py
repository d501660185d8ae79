"""Trying again what may have failed in passing: a server that is busy, a connection that broke.

It owns which failures pass and how long to wait; it refuses to try again what will fail the same way.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from assistant.errors import AssistantError

T = TypeVar("T")

_LASTING = (
    AssistantError,
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ImportError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0


def retried(
    call: Callable[[], T],
    *,
    retries: int,
    again: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `call` returns, tried again after failures that may pass.

    The wait doubles from half a second, at most 15 seconds, each drawn from its upper half so that many
    callers do not come back at once (full jitter's sibling: "equal jitter", Brooker, AWS 2015).

    Args:
        retries: how often to try again.
        again: called before each new try, for example to open a connection anew.

    Raises:
        Exception: what the last try raised.
    """
    for attempt in range(retries + 1):
        try:
            return call()
        except _LASTING:
            raise
        except Exception:  # noqa: BLE001 - each file system has its own exceptions
            if attempt == retries:
                raise
            longest = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
            sleep(longest * random.uniform(0.5, 1.0))
            again()
    raise AssertionError("the last try returns or raises")
