"""Requests that wait, a queue for each department, served fairly by tokens.

It owns whose turn it is, how long a queue may get and how long it may keep one waiting; it refuses to know
what a request is or whether there is room to run it. It has one owner: it is not safe for several threads.

**Whose turn.** Deficit round robin (Shreedhar & Varghese 1995): in each round every waiting department is
given the same number of tokens (times its weight), and one whose tokens cover its oldest request starts
it and pays. The round's gift is taken as small as can be, one token, so that a department is never more
than one request ahead; rounds in which nobody could start are taken in one step. A department with
requests running whose queue happens to be empty goes on being given, up to the cost of its last `CREDIT`
requests: its next one comes at once instead of its share being lost to whoever floods. An idle department
keeps nothing. A request pays its estimate when it starts; `settle` gives back what it did not use.

**What does not fit.** A request that cannot start yet lets the others pass. After `patience` of them,
nothing else starts until it does: what runs ends and makes room, so a large request waits for a bounded
number of small ones. Whoever pushes makes sure that every item can start on an idle engine.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from assistant.errors import Overloaded

Item = TypeVar("Item")
PATIENCE = 32
CREDIT = 2
"""Requests that a department may be ahead with what it was given while nothing of it waited."""
_MEMORY_S = 30.0
"""How long, in seconds of work, a measured speed counts."""
_LEAST_S = 0.5
"""Seconds of work before the speed is believed."""
_KEPT = 0.95
"""What each ended item leaves of the earlier ones' weight in the ratio of estimated to used tokens."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item]):
    """An item in a queue, and how many of other queues started although it was its turn."""

    item: Item
    cost: int
    passed: int = 0


@dataclass(slots=True)
class _Queue(Generic[Item]):
    """What waits in one department, oldest first, and the tokens it may spend."""

    weight: float
    deficit: float = 0.0
    items: deque[_Waiting[Item]] = field(default_factory=deque)

    @property
    def head(self) -> _Waiting[Item]:
        return self.items[0]

    @property
    def cost(self) -> int:
        """Tokens of all that waits."""
        return sum(waiting.cost for waiting in self.items)

    @property
    def rounds(self) -> float:
        """Rounds until the oldest is paid for."""
        return max(0.0, (self.head.cost - self.deficit) / self.weight)


@dataclass(slots=True)
class _Credit:
    """What a department was given while its queue was empty and its requests ran."""

    tokens: float
    most: float


class FairQueues(Generic[Item]):
    """Bounded queues by name.

    Args:
        length: items that may wait in one queue.
        max_wait_s: predicted wait from which on a queue takes no more; None: its length alone decides.
            A department of which nothing waits or runs is always taken one of.
        weights: shares of departments that are not 1.
        patience: items that may start before one whose turn it is but that does not fit.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        length: int,
        max_wait_s: float | None = None,
        weights: Mapping[str, float] | None = None,
        patience: int = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._length, self._max_wait_s, self._patience = length, max_wait_s, patience
        self._weights = dict(weights or {})
        assert all(weight > 0 for weight in self._weights.values()), "a weight is above 0"
        self._queues: dict[str, _Queue[Item]] = {}
        self._running: Counter[str] = Counter()
        self._credits: dict[str, _Credit] = {}
        self._speed = _Speed(clock)

    def push(self, queue: str, item: Item, cost: int) -> None:
        """Append an item to a queue.

        Args:
            cost: the most tokens it can take, prompt and completion, at least 1.

        Raises:
            Overloaded: the queue is at its length, or the wait it predicts is too long.
        """
        assert cost > 0, "an item costs at least one token"
        self._refuse_if_full(queue, cost)
        waiting = self._queues.get(queue)
        if waiting is None:
            credit = self._credits.pop(queue, None)
            given = credit.tokens if credit else 0.0
            waiting = self._queues[queue] = _Queue(weight=self._weight(queue), deficit=given)
        waiting.items.append(_Waiting(item=item, cost=cost))

    def next(self, fits: Callable[[Item], bool]) -> Item | None:
        """Take the next item that can start; None: there is none, or room is being made for a large one.

        Args:
            fits: whether an item can start now. It is asked of the oldest of each queue, in the order
                of their turns; the first it says yes to is taken.
        """
        turns = sorted(self._queues.items(), key=lambda turn: turn[1].rounds)  # equals: who waits longest
        reserved = [turn for turn in turns if turn[1].head.passed >= self._patience]
        for place, (name, queue) in enumerate(reserved[:1] or turns):
            if fits(queue.head.item):
                for _, other in () if reserved else turns[:place]:
                    other.head.passed += 1
                return self._start(name, queue)
        return None

    def settle(self, queue: str, cost: int, used: int) -> None:
        """Note that an item taken by `next` has ended, or will not run: the tokens it used are what it pays.

        A queue that waits gets back what was not used (or pays what was used beyond); an empty one is
        given nothing.
        """
        assert self._running[queue], "only what `next` gave is settled, once"
        self._running[queue] -= 1
        if not self._running[queue]:
            del self._running[queue]
            self._credits.pop(queue, None)
        if queue in self._queues:
            self._queues[queue].deficit += cost - used
        self._speed.settled(cost, used)

    def served(self, tokens: int) -> None:
        """Note the tokens that a step of the engine ran, once a step: the speed, for predictions."""
        self._speed.ran(tokens, busy=bool(self._running))

    def remove(self, item: Item) -> bool:
        """Take an item out that is not wanted any more; False: it does not wait here."""
        for name, queue in self._queues.items():
            for waiting in queue.items:
                if waiting.item is item:
                    queue.items.remove(waiting)
                    if not queue.items:
                        del self._queues[name]
                    return True
        return False

    def wait_s(self, queue: str, cost: int = 0) -> float | None:
        """Predict how long an item pushed now would wait, in seconds; None: nothing was measured yet.

        Its cost and those that wait before it, less what the queue was given already, over the queue's
        share of the speed: all of it is paid before the item starts. Departments with waiting or running
        requests share the speed by weight. Where nothing waits at all, or nothing of this department
        waits or runs, none is expected.
        """
        if not self._queues or not (queue in self._queues or self._running[queue]):
            return 0.0
        active = self._queues.keys() | self._running.keys()
        share = self._weight(queue) / sum(self._weight(name) for name in active)
        speed = self._speed.tokens_per_s
        return None if speed is None else max(0.0, self._owed(queue) + cost) / (speed * share)

    @property
    def waiting(self) -> dict[str, int]:
        """Items that wait, by queue; only queues with any."""
        return {name: len(queue.items) for name, queue in self._queues.items()}

    def __len__(self) -> int:
        return sum(len(queue.items) for queue in self._queues.values())

    def __iter__(self) -> Iterator[Item]:
        """Iterate over all that waits, queue by queue; it must not change meanwhile."""
        return (waiting.item for queue in self._queues.values() for waiting in queue.items)

    def _weight(self, queue: str) -> float:
        return self._weights.get(queue, 1.0)

    def _owed(self, queue: str) -> float:
        """Tokens that a queue must still be given until all that waits in it has started."""
        if queue in self._queues:
            return self._queues[queue].cost - self._queues[queue].deficit
        return -self._credits[queue].tokens if queue in self._credits else 0.0

    def _refuse_if_full(self, name: str, cost: int) -> None:
        count, wait_s = self.waiting.get(name, 0), self.wait_s(name, cost)
        too_long = self._max_wait_s is not None and wait_s is not None and wait_s > self._max_wait_s
        if count < self._length and not too_long:
            return
        until_s = 0.0
        if wait_s is not None:  # until the wait is short enough, or half the queue is gone
            until_s = wait_s - self._max_wait_s if too_long and self._max_wait_s else wait_s / 2
        who = name or "no department"
        raise Overloaded(
            f"A question of {who} would wait about {wait_s:.0f} s now."
            if too_long
            else f"{count} questions of {who} are waiting already.",
            retry_after_s=round(max(1.0, until_s), 1),
            remedy="Retry later.",
        )

    def _start(self, name: str, queue: _Queue[Item]) -> Item:
        """Let the rounds pass until the oldest is paid for, and take it; its queue goes to the end."""
        rounds = queue.rounds
        for other in self._queues.values():
            other.deficit += rounds * other.weight
        for idle, credit in self._credits.items():
            credit.tokens = min(credit.most, credit.tokens + rounds * self._weight(idle))
        started = queue.items.popleft()
        queue.deficit -= started.cost
        del self._queues[name]
        if queue.items:
            self._queues[name] = queue
        else:
            self._credits[name] = _Credit(tokens=queue.deficit, most=CREDIT * started.cost)
        if not self._running:
            self._speed.start()
        self._running[name] += 1
        return started.item


class _Speed:
    """Tokens a second while anything runs, in the unit of costs; the latest half minute counts most."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._tokens = self._seconds = 0.0
        self._cost = self._used = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Estimated tokens served a second; None: not measured yet.

        Steps are counted in real tokens, waiting items in estimated ones: what ended tells the ratio.
        """
        if self._seconds < _LEAST_S or not self._tokens:
            return None
        ratio = self._cost / self._used if self._used else 1.0
        return self._tokens / self._seconds * ratio

    def start(self) -> None:
        """Count time from now on: nothing ran before."""
        self._since = self._clock()

    def ran(self, tokens: int, *, busy: bool) -> None:
        """Note the tokens run since the last call; `busy`: more is running."""
        now = self._clock()
        if self._since is not None:
            keep = math.exp((self._since - now) / _MEMORY_S)
            self._tokens = self._tokens * keep + tokens
            self._seconds = self._seconds * keep + now - self._since
        self._since = now if busy else None

    def settled(self, cost: int, used: int) -> None:
        """Note what an item was estimated at and what it took; one that did not run tells nothing."""
        if used:
            self._cost, self._used = self._cost * _KEPT + cost, self._used * _KEPT + used
