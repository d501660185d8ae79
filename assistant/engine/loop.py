"""The engine's thread: take what came, schedule, run, give out, again.

It owns the thread, what waits and what runs; it is the only one that touches the model. It refuses to
let one request's error reach another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from assistant.engine.metrics import Metrics, Outcome
from assistant.engine.model import Logits, Model
from assistant.engine.pace import Pace
from assistant.engine.queues import FairQueues
from assistant.engine.sampler import draw
from assistant.engine.scheduler import Batch, Scheduler
from assistant.engine.sequence import Generation, Scoring, Sequence
from assistant.engine.stream import Mail
from assistant.errors import DeadlineExceeded, EngineError, Overloaded

T = TypeVar("T")
_TICK_S = 0.05
"""How often deadlines and cancellations are looked at while nothing can run."""


class Loop:
    """Runs requests until it is closed."""

    def __init__(
        self, model: Model, scheduler: Scheduler, queues: FairQueues[Sequence], pace: Pace, metrics: Metrics
    ) -> None:
        self._model, self._scheduler, self._queues, self._pace = model, scheduler, queues, pace
        self._metrics = metrics
        self._mail = Mail()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._draining = self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Queue a request.

        Raises:
            Overloaded: its queue is full, or the engine is closing.
            EngineError: the engine is closed.
        """
        with self._changed:
            if self._closed:
                raise EngineError("The engine is closed.")
            try:
                if self._draining:
                    raise Overloaded("The engine is closing.", retry_after_s=5.0, remedy="Retry later.")
                self._queues.push(sequence.queue, sequence, sequence.room)
            except Overloaded:
                self._metrics.ended("refused")
                raise
            self._changed.notify()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run a function between two steps, in the engine's thread."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise EngineError("The engine is closed.")
            self._calls.append((function, future))
            self._changed.notify()
        return future

    def wake(self) -> None:
        """Look again at what waits: something it waited for may be there."""
        with self._changed:
            self._changed.notify()

    def close(self, grace_s: float) -> None:
        """Take nothing new, let what is here finish for up to `grace_s`, cancel the rest, end the thread."""
        with self._changed:
            self._draining = True
            until = time.monotonic() + grace_s
            while (self._scheduler.running or len(self._queues)) and time.monotonic() < until:
                self._changed.wait(_TICK_S)
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def step(self) -> bool:
        """Take one step; return whether anything ran."""
        self._call()
        self._drop()
        ran = False
        for batch in self._scheduled():
            ran = True
            began = time.perf_counter()
            try:
                logits = self._model.run(batch.spans)
                self._give_out(batch, logits, time.perf_counter() - began)
            except Exception as error:  # noqa: BLE001 - the loop's edge: those in the batch are told
                for sequence in batch.sequences:
                    self._end(sequence, error)
        self._show()
        self._mail.send()
        return ran

    @torch.inference_mode()
    def _run(self) -> None:
        why = "The engine was closed before this answer was complete."
        try:
            while not self._closed:
                if not self.step():
                    with self._changed:
                        if not (self._closed or self._calls):
                            self._changed.wait(_TICK_S if self._busy else None)
        except Exception as error:
            why = f"The engine broke down: {type(error).__name__}: {error}"
            raise
        finally:
            with self._changed:
                self._draining = self._closed = True
            self._abandon(EngineError(why))

    @property
    def _busy(self) -> bool:
        return bool(self._scheduler.running or len(self._queues))

    def _scheduled(self) -> list[Batch]:
        with self._changed:
            batches = list(self._scheduler.schedule())
        failed, self._scheduler.failed = self._scheduler.failed, []
        for sequence in failed:
            self._end(sequence, sequence.failure)
        return batches

    def _give_out(self, batch: Batch, logits: Logits, seconds: float) -> None:
        """Draw the next tokens and deliver them."""
        self._pace.ran(seconds, decoding=batch.decoding, prompt_tokens=batch.prompt_tokens)
        self._scheduler.ran(batch)
        rows: dict[int, list[int]] = {}
        for row, owner in enumerate(logits.owners):
            rows.setdefault(owner, []).append(row)
        drawing: list[tuple[Generation, int]] = []
        for owner, mine in rows.items():
            sequence = batch.sequences[owner]
            if isinstance(sequence, Generation):
                drawing.append((sequence, mine[0]))
            elif isinstance(sequence, Scoring) and sequence.take(logits.rows[mine], self._mail):
                self._end(sequence)
        self._draw(drawing, logits)
        self._count(batch, seconds, len(drawing))

    def _draw(self, drawing: list[tuple[Generation, int]], logits: Logits) -> None:
        if not drawing:
            return
        alike = len(drawing) == len(logits.rows)
        chosen = logits.rows if alike else logits.rows[[row for _, row in drawing]]
        for (sequence, _), drawn in zip(drawing, draw([s.sampler for s, _ in drawing], chosen), strict=True):
            if isinstance(drawn, EngineError):
                self._end(sequence, drawn)
                continue
            if sequence.writer.count == 0:
                self._metrics.first_token(time.monotonic() - sequence.submitted_at)
            if sequence.take(drawn, self._mail):
                self._end(sequence)

    def _count(self, batch: Batch, seconds: float, generated: int) -> None:
        with self._changed:
            self._queues.served(sum(len(span.tokens) for span in batch.spans))
        self._metrics.step(
            seconds=seconds,
            batch_size=len(batch.spans),
            prompt_tokens=batch.prompt_tokens,
            generated_tokens=generated,
        )

    def _show(self) -> None:
        """Say how things stand."""
        with self._changed:
            waiting = self._queues.waiting
        used = self._model.cache.lanes.used
        self._metrics.state(waiting=waiting, running=len(self._scheduler.running), cache_tokens_used=used)
        slots = self._scheduler.slots
        self._metrics.adapters(loads=slots.loads, evictions=slots.evictions, resident=len(slots.resident))

    def _call(self) -> None:
        """Run the functions that others want run here."""
        while self._calls:
            function, future = self._calls.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)

    def _drop(self) -> None:
        """End what nobody reads any more and what took too long."""
        now = time.monotonic()
        with self._changed:
            gone = [each for each in self._queues if _is_over(each, now)]
            for sequence in gone:
                self._queues.remove(sequence)
        gone += [each for each in self._scheduler.running if _is_over(each, now)]
        for sequence in gone:
            self._end(sequence, _why(sequence))

    def _end(self, sequence: Sequence, error: Exception | None = None) -> None:
        """Free what a request holds and tell its reader."""
        if sequence.done:
            return
        sequence.done = True
        if sequence in self._scheduler.running:
            self._scheduler.leave(sequence)
        if sequence.started:
            with self._changed:
                self._queues.settle(sequence.queue, sequence.room, sequence.computed - sequence.reused)
        self._mail.end(sequence.stream, error)
        self._metrics.ended(_outcome(sequence, error))

    def _abandon(self, error: EngineError) -> None:
        """Tell everybody that no more will come."""
        for sequence in list(self._scheduler.running):
            self._end(sequence, error)
        for sequence in list(self._queues):
            self._queues.remove(sequence)
            self._end(sequence, error)
        self._mail.send()
        for _, future in self._calls:
            if future.set_running_or_notify_cancel():
                future.set_exception(EngineError("The engine is closed."))


def _is_over(sequence: Sequence, now: float) -> bool:
    return sequence.stream.cancelled or (sequence.expires_at is not None and now > sequence.expires_at)


def _why(sequence: Sequence) -> EngineError:
    if sequence.stream.cancelled:
        return EngineError("The request was cancelled.")
    given_s = (sequence.expires_at or 0.0) - sequence.submitted_at
    return DeadlineExceeded(
        f"The answer took longer than the {given_s:.1f} s it was given.",
        remedy="Allow more time, ask for fewer tokens, or ask when less is running.",
    )


def _outcome(sequence: Sequence, error: Exception | None) -> Outcome:
    if error is None:
        return "finished"
    if sequence.stream.cancelled:
        return "cancelled"
    return "expired" if isinstance(error, DeadlineExceeded) else "failed"
