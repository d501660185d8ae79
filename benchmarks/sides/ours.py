"""The engine of this project, by its public contract only: requests in, deltas out, stamped from outside.

It owns the event loop the engine is asked on; it refuses to look inside the engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from assistant.engine.base import Delta, GenerateRequest, Sampling
from assistant.engine.local import LocalEngine
from assistant.types import AdapterVersion
from benchmarks.sides.base import Call, Record, spread

T = TypeVar("T")
_KEEP = "benchmark"
_BOUNDLESS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One finished request: stamps in seconds after `began`, all deltas as they came."""

    stamps: tuple[float, ...]
    deltas: tuple[Delta, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Ids of its tokens."""
        return tuple(token for delta in self.deltas for token in delta.tokens)

    @property
    def reused(self) -> int:
        """Prompt tokens that were not computed anew."""
        return self.deltas[-1].reused_tokens


class Ours:
    """The local engine with every adapter version loaded, and one event loop to ask it on."""

    def __init__(self, engine: LocalEngine, versions: Sequence[AdapterVersion]) -> None:
        self.engine, self.versions = engine, tuple(versions)
        self._runner = asyncio.Runner()
        for version in versions:
            self.wait(engine.load(version))

    @classmethod
    def open(
        cls,
        folder: Path,
        versions: Sequence[AdapterVersion] = (),
        *,
        queue_length: int = _BOUNDLESS,
        **settings: Any,  # noqa: ANN401 - the engine's own
    ) -> Self:
        """Open the engine as an operator would, with `settings` beside its defaults."""
        return cls(LocalEngine.open(folder, queue_length=queue_length, **settings), versions)

    @property
    def name(self) -> str:
        """Its name in figures."""
        return "ours"

    @property
    def dtype(self) -> str:
        """The arithmetic it chose."""
        return self.engine.fingerprint.dtype

    def run(self, calls: Sequence[Call]) -> Record:
        """Serve all calls at once; nothing of a prompt is kept for the next run."""
        return self._record(calls, None)

    def run_again(self, calls: Sequence[Call]) -> Record:
        """Serve all calls at once; prompts are kept, so that the next run of the same calls only decodes."""
        return self._record(calls, _KEEP)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the engine's loop."""
        return self._runner.run(work)

    def request(self, call: Call, **more: Any) -> GenerateRequest:  # noqa: ANN401 - the request's own fields
        """Return the greedy request of a call; `more` are other fields of it."""
        version = None if call.adapter is None else self.versions[call.adapter]
        return GenerateRequest(
            **{
                "tokens": call.tokens,
                "adapter": version and version.digest,
                "queue": version.department if version else "",
                "sampling": Sampling(max_tokens=call.new_tokens),
                **more,
            }
        )

    async def ask(self, request: GenerateRequest, *, began: float, until: int | None = None) -> Outcome:
        """Send one request and read it to its end, or leave it after `until` tokens.

        Args:
            began: reading of `time.perf_counter` that stamps count from.
        """
        deltas: list[Delta] = []
        stamps: list[float] = []
        async with aclosing(self.engine.generate(request)) as stream:
            async for delta in stream:
                now = time.perf_counter() - began
                stamps.extend(spread(len(delta.tokens), stamps[-1] if stamps else now, now))
                deltas.append(delta)
                if until is not None and len(stamps) >= until:
                    break
        return Outcome(stamps=tuple(stamps), deltas=tuple(deltas))

    def close(self) -> None:
        """Stop the engine and free its memory."""
        self.wait(self.engine.close())
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record(self, calls: Sequence[Call], scope: str | None) -> Record:
        began = time.perf_counter()

        async def together() -> list[Outcome]:
            asked = (self.ask(self.request(call, scope=scope), began=began) for call in calls)
            return await asyncio.gather(*asked)

        return record(calls, self.wait(together()))


def record(calls: Sequence[Call], outcomes: Sequence[Outcome]) -> Record:
    """Record of calls that were served whole.

    Raises:
        RuntimeError: a call got another number of tokens than it asked for.
    """
    for call, outcome in zip(calls, outcomes, strict=True):
        if len(outcome.stamps) != call.new_tokens:
            raise RuntimeError(f"A call for {call.new_tokens} tokens got {len(outcome.stamps)}.")
    return Record(
        stamps=tuple(outcome.stamps for outcome in outcomes),
        tokens=tuple(outcome.tokens for outcome in outcomes),
    )
