"""Which dtype a side is fastest in on this machine: a short trial of each.

It owns the trial; it refuses to guess from the processor's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from benchmarks.parts.bench import Bench, free, say
from benchmarks.sides.base import Call, Record, Side

AnySide = TypeVar("AnySide", bound=Side)
_PROMPT_TOKENS, _PROMPT_TOKENS_SLOW, _NEW_TOKENS = 128, 16, 4
"""Of a trial; the second where bf16 is so slow that a longer one would show nothing more."""


@dataclass(frozen=True, slots=True)
class Tried(Generic[AnySide]):
    """A side in its better dtype, and what each dtype's trial would make the whole work take."""

    side: AnySide
    seconds: dict[str, float]


def better(
    bench: Bench, make: Callable[[str], AnySide], work: Sequence[Call], *, computed: bool = False
) -> Tried[AnySide]:
    """Try a side in each dtype with a small piece of `work`; keep the one that would end it sooner.

    Args:
        computed: whether the prompts will have been computed before, so that only decoding counts.
    """
    best: AnySide | None = None
    seconds: dict[str, float] = {}
    for dtype in dtypes(bench):
        side = make(dtype)
        seconds[dtype] = predict(bench, side, work, computed=computed)
        if best is None or seconds[dtype] == min(seconds.values()):
            best = side
        del side
        free()
    assert best is not None
    return Tried(best, seconds)


def dtypes(bench: Bench) -> tuple[str, ...]:
    """Both; in a quick run the one whose products are faster here."""
    if bench.quick:
        return ("bfloat16",) if bench.rates.bfloat16 > bench.rates.float32 else ("float32",)
    return ("float32", "bfloat16")


def predict(bench: Bench, side: Side, work: Sequence[Call], *, computed: bool = False) -> float:
    """Seconds that a side would take for `work`, from a quarter of its rows with short prompts."""
    length = _PROMPT_TOKENS if bench.rates.bfloat16 > bench.rates.float32 / 2 else _PROMPT_TOKENS_SLOW
    rows = work[: max(1, len(work) // 4)]
    trial = [replace(call, tokens=call.tokens[:length], new_tokens=_NEW_TOKENS) for call in rows]
    warm(side, rows)
    seconds = extrapolated(side.run(trial), trial, work, computed=computed)
    say(f"trial of {side.name}: the whole would take about {seconds:.0f} s")
    return seconds


def warm(side: Side, work: Sequence[Call]) -> None:
    """Let a side allocate and pack what its first run would pay for."""
    side.run([replace(call, tokens=call.tokens[:4], new_tokens=2) for call in work])


def extrapolated(
    record: Record, trial: Sequence[Call], work: Sequence[Call], *, computed: bool = False
) -> float:
    """Seconds that `work` would take, from the trial's prefill by tokens and its step by steps and rows."""
    prompts = sum(len(call.tokens) for call in work) / sum(len(call.tokens) for call in trial)
    steps = (max(call.new_tokens for call in work) - 1) / (max(call.new_tokens for call in trial) - 1)
    decoding_s = record.seconds - record.first_s
    return record.first_s * prompts * (not computed) + decoding_s * steps * len(work) / len(trial)
