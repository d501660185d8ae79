"""Which requests run in the next step, and which of their tokens.

It owns admission (room in the cache, a slot for the adapter, a place in the batch) and the mix of decoding
rows and prompts' pieces in a step. Whose turn it is, the fair queues say. It refuses to run the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from assistant.engine.loader import AdapterLoader
from assistant.engine.metrics import Metrics
from assistant.engine.mix import Use
from assistant.engine.model import Model
from assistant.engine.pace import Pace
from assistant.engine.plan import Span
from assistant.engine.prefix import PrefixCache
from assistant.engine.queues import FairQueues
from assistant.engine.sequence import Sequence
from assistant.engine.slots import AdapterSlots
from assistant.errors import AssistantError
from assistant.types import AdapterVersion

_ALONE = 256
"""Tokens of a prompt's piece where a request must give the same tokens each time."""
_ENOUGH = 128
"""Tokens of prompts from which on one more prompt in the step gains nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that run in one pass, each with its tokens."""

    sequences: tuple[Sequence, ...]
    spans: tuple[Span, ...]

    @property
    def decoding(self) -> int:
        """How many rows decode."""
        return sum(sequence.decoding for sequence in self.sequences)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of prompts."""
        return sum(
            len(span.tokens)
            for sequence, span in zip(self.sequences, self.spans, strict=True)
            if not sequence.decoding
        )


class Scheduler:
    """The requests that run, and who may join them. Not for several threads: the loop owns it."""

    def __init__(
        self, model: Model, slots: AdapterSlots, loader: AdapterLoader, prefix: PrefixCache, pace: Pace,
        queues: FairQueues[Sequence], metrics: Metrics, *, batch_size: int,
    ) -> None:  # fmt: skip
        self._model, self.slots, self._loader, self._prefix = model, slots, loader, prefix
        self._pace, self._queues, self._metrics, self._batch_size = pace, queues, metrics, batch_size
        self.running: list[Sequence] = []
        self.failed: list[Sequence] = []

    def schedule(self) -> Iterator[Batch]:
        """Choose the passes of one step: one for all that run together, one for each that runs alone."""
        decoding = [each for each in self.running if each.decoding and not each.alone]
        chosen = [(each, each.span(1)) for each in decoding]
        budget = self._pace.budget(len(decoding), self._waiting)
        used = 0
        while used < min(budget, _ENOUGH) and (each := self._next_prompt(chosen)) is not None:
            if not each.alone:
                left = len(each.tokens) - each.computed
                chosen.append((each, each.span(self._pace.piece(left, budget - used))))
                used += len(chosen[-1][1].tokens)
        if chosen:
            yield Batch(*zip(*chosen, strict=True))
        for each in [each for each in self.running if each.alone]:
            yield Batch((each,), (each.span(1 if each.decoding else _ALONE),))

    def ran(self, batch: Batch) -> None:
        """Note that a batch's tokens have run; keep what later prompts may begin with."""
        for sequence, span in zip(batch.sequences, batch.spans, strict=True):
            sequence.computed = span.stop
            if len(span.tokens) > 1:
                self._keep(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Free what a running request holds; keep what it computed."""
        self.running.remove(sequence)
        self._keep(sequence)
        self._release(sequence)

    @property
    def _waiting(self) -> int:
        return len(self._queues) + sum(not each.decoding for each in self.running)

    def _next_prompt(self, chosen: list[tuple[Sequence, Span]]) -> Sequence | None:
        """Find the next request with a prompt to run that is not chosen yet: begun already, or new."""
        taken = {id(each) for each, _ in chosen}
        for each in self.running:
            if not (each.decoding or each.alone or id(each) in taken):
                return each
        while len(self.running) < self._batch_size:
            new = self._queues.next(self._admit)
            if new is None:
                return None
            new.started = True
            if new.failure is None:
                self.running.append(new)
                self._reuse(new)
                return new
            self.failed.append(new)
        return None

    def _admit(self, sequence: Sequence) -> bool:
        """Give a request all it needs to run, or nothing; one that cannot ever run is taken too, to fail."""
        sequence.lane = self._model.take(sequence.room)
        if sequence.lane is None:
            return False
        if sequence.version is None:
            return True
        try:
            sequence.use = self._use(sequence.version)
        except AssistantError as error:
            sequence.failure = error
        if sequence.use is None:
            self._model.give_back(sequence.lane)
            sequence.lane = None
        return sequence.use is not None or sequence.failure is not None

    def _use(self, version: AdapterVersion) -> Use | None:
        """Find the slot with this adapter in it; None while it is being read or all slots are in use."""
        use = self.slots.acquire(version.digest)
        if use is None and (prepared := self._loader.get(version)) and self.slots.insert(prepared):
            self._loader.forget(version.digest)
            use = self.slots.acquire(version.digest)
        return use

    def _reuse(self, sequence: Sequence) -> None:
        """Begin where an earlier request's computation ends that began alike."""
        if sequence.origin is None or sequence.lane is None:
            return
        known = sequence.tokens[: sequence.wanted_from + 1]
        sequence.reused = sequence.computed = self._prefix.fetch(known, sequence.origin, sequence.lane)
        self._metrics.looked_up(len(known), reused=sequence.reused)

    def _keep(self, sequence: Sequence) -> None:
        if sequence.origin is not None and sequence.lane is not None:
            self._prefix.keep(sequence.tokens[: sequence.computed], sequence.origin, sequence.lane)

    def _release(self, sequence: Sequence) -> None:
        if sequence.lane is not None:
            self._model.give_back(sequence.lane)
        if sequence.use is not None and sequence.version is not None:
            self.slots.release(sequence.version.digest)
        sequence.lane = sequence.use = None
