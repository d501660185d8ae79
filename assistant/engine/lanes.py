"""Room for keys and values, handed out in lanes: runs of token places whose sizes are powers of two.

It owns which places are free (a buddy allocator: Knowlton 1965). Lanes of one size lie on multiples of
that size, so that neighbours can be read as one batch without a copy. It refuses to touch tensors.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

SMALLEST = 64


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """Token places `offset` to `offset + size` of the arena; `offset` is a multiple of `size`."""

    offset: int
    size: int

    @property
    def number(self) -> int:
        """Which lane of its size it is, counted from the start of the arena."""
        return self.offset // self.size


class Lanes:
    """The free lanes of an arena. Not for several threads.

    Args:
        places: size of the arena in tokens.
        largest: of a lane, in tokens; what is left of `places` beyond whole ones is never used.
    """

    def __init__(self, places: int, largest: int) -> None:
        self._largest = size_for(largest)
        self._total = places - places % self._largest
        self._free = {self._largest: list(range(0, self._total, self._largest))}
        self._used = 0

    @property
    def total(self) -> int:
        """Places in all."""
        return self._total

    @property
    def used(self) -> int:
        """Places in lanes that are handed out."""
        return self._used

    def take(self, places: int) -> Lane | None:
        """Return a lane of at least so many places, the lowest of the smallest size; None if none is free."""
        size = size_for(places)
        fitting = [free for free in self._free if free >= size and self._free[free]]
        if not fitting:
            return None
        found = min(fitting)
        offset = self._free[found].pop(0)
        while found > size:
            found //= 2
            insort(self._free.setdefault(found, []), offset + found)
        self._used += size
        return Lane(offset, size)

    def give_back(self, lane: Lane) -> None:
        """Free a lane and join it with its free neighbours."""
        self._used -= lane.size
        offset, size = lane.offset, lane.size
        while size < self._largest and (buddy := offset ^ size) in self._free.get(size, ()):
            self._free[size].remove(buddy)
            offset, size = min(offset, buddy), size * 2
        insort(self._free.setdefault(size, []), offset)


def size_for(places: int) -> int:
    """Size of the lane that holds so many tokens."""
    return max(SMALLEST, 1 << (places - 1).bit_length())
