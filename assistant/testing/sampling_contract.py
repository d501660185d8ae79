"""The part of the engine's suite that is about how tokens are drawn: `EngineContract` includes it.

It owns what each field of `Sampling`, and `deterministic`, means in behaviour; what an engine says it
cannot do is skipped.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest

from assistant.engine.base import Delta, GenerateRequest, TokenLogprob
from assistant.errors import Unsupported
from assistant.testing.engine_subject import Run, Subject, collect, request, text_of


class SamplingContract:
    """Tests of an engine's sampling. `EngineContract` gives the fixtures."""

    def test_greedy_text_repeats(self, subject: Subject, run: Run[Any]) -> None:
        first, second = (text_of(run(collect(subject.engine, request()))) for _ in range(2))
        assert first == second

    def test_a_seed_repeats(self, subject: Subject, run: Run[Any]) -> None:
        drawn = [
            text_of(run(collect(subject.engine, request(temperature=1.0, top_p=0.95, top_k=50, seed=3))))
            for _ in range(2)
        ]
        assert drawn[0] == drawn[1]

    def test_seeds_differ(self, subject: Subject, run: Run[Any]) -> None:
        drawn = {text_of(run(collect(subject.engine, request(temperature=1.5, seed=n)))) for n in range(6)}
        assert len(drawn) > 1

    def test_max_tokens_ends_with_length(self, subject: Subject, run: Run[Any]) -> None:
        deltas = run(collect(subject.engine, request(max_tokens=2)))
        assert deltas[-1].finish == "length"
        assert deltas[-1].completion_tokens == 2

    def test_a_stop_string_never_appears(self, subject: Subject, run: Run[Any]) -> None:
        whole = text_of(run(collect(subject.engine, request())))
        stop = whole[len(whole) // 2 :][:4]
        deltas = run(collect(subject.engine, request(stop=(stop,))))
        assert text_of(deltas) == whole[: whole.index(stop)]
        assert deltas[-1].finish == "stop"

    def test_the_smallest_share_leaves_the_likeliest_alone(self, subject: Subject, run: Run[Any]) -> None:
        greedy = text_of(_drawn(subject, run, request()))
        assert text_of(_drawn(subject, run, request(temperature=1.5, seed=1, min_p=1.0))) == greedy

    def test_penalties_are_taken(self, subject: Subject, run: Run[Any]) -> None:
        deltas = _drawn(subject, run, request(presence_penalty=1.5, repetition_penalty=1.2))
        assert deltas[-1].finish in ("stop", "length")

    def test_log_probabilities_come_with_every_token(self, subject: Subject, run: Run[Any]) -> None:
        deltas = _drawn(subject, run, request(logprobs=2))
        given = _logprobs(deltas)
        assert len(given) == deltas[-1].completion_tokens
        assert [one.token for one in given] == [token for delta in deltas for token in delta.tokens]
        for one in given:
            assert one.logprob <= 0 and math.isfinite(one.logprob)
            (_, best), (_, second) = one.likeliest
            assert best >= second
            assert one.logprob == pytest.approx(best, abs=1e-6)  # greedy

    def test_log_probabilities_are_the_models_own(self, subject: Subject, run: Run[Any]) -> None:
        asked = request(logprobs=0), request(logprobs=0, temperature=0.5, seed=1, min_p=1.0)
        plain, drawn = (_logprobs(_drawn(subject, run, one)) for one in asked)
        assert [one.token for one in plain] == [one.token for one in drawn]
        assert [one.logprob for one in plain] == pytest.approx([one.logprob for one in drawn], abs=0.02)
        assert not any(one.likeliest for one in plain)

    def test_log_probabilities_come_only_when_asked_for(self, subject: Subject, run: Run[Any]) -> None:
        assert _logprobs(run(collect(subject.engine, request()))) == []

    def test_deterministic_requests_repeat_among_others(self, subject: Subject, run: Run[Any]) -> None:
        asked = replace(request(temperature=1.0, seed=3), deterministic=True)

        async def among(others: int) -> list[Delta]:
            beside = (collect(subject.engine, request(max_tokens=4 + n)) for n in range(others))
            return (await asyncio.gather(collect(subject.engine, asked), *beside))[0]

        try:
            texts = [text_of(run(among(others))) for others in (0, 1, 2)]
        except Unsupported as error:
            pytest.skip(str(error))
        assert texts[0] == texts[1] == texts[2]


def _drawn(subject: Subject, run: Run[Any], asked: GenerateRequest) -> list[Delta]:
    """Return the deltas, or skip the test if the engine cannot do what it asks for."""
    try:
        deltas: list[Delta] = run(collect(subject.engine, asked))
    except Unsupported as error:
        pytest.skip(str(error))
    return deltas


def _logprobs(deltas: list[Delta]) -> list[TokenLogprob]:
    return [one for delta in deltas for one in delta.logprobs]
