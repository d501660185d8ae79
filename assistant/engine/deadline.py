"""The time a caller gives an answer.

It owns turning a passed deadline into its error; it refuses to interrupt whoever reads the answer: only
waiting for the next piece is cut short.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from assistant.errors import DeadlineExceeded

T = TypeVar("T")


class Deadline:
    """Counts from its making, inside a running event loop.

    Args:
        seconds: until it passes; None never does.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._at = None if seconds is None else asyncio.get_running_loop().time() + seconds

    async def over(self, pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Yield the pieces that come in time.

        Raises:
            DeadlineExceeded: the next one did not.
        """
        while (piece := await self._within(anext(pieces, None))) is not None:
            yield piece

    async def _within(self, waiting: Awaitable[T]) -> T:
        time = asyncio.timeout_at(self._at)
        try:
            async with time:
                return await waiting
        except TimeoutError as error:
            if not time.expired():
                raise
            raise DeadlineExceeded(
                f"The answer was not complete within {self._seconds:g} s.",
                remedy="Allow more time, or ask for a shorter answer.",
            ) from error
