"""The suite every engine passes: subclass `EngineContract`, give it fixtures, and pytest runs it.

    class TestMyEngine(EngineContract):
        @pytest.fixture(scope="class")
        @classmethod
        def subject(cls, run): ...

It owns what the engine contract means in behaviour; it refuses to test speed or the quality of text.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest

from assistant.engine.base import Delta, Engine, GenerateRequest, Sampling
from assistant.errors import AdapterError, BadRequest, Overloaded, TooLarge, Unsupported
from assistant.types import AdapterVersion, Message

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

MESSAGES = (
    Message(role="system", content="You answer from the passages."),
    Message(
        role="user",
        content="[1] Leave\nParental leave lasts 18 weeks. It is paid.\n\n"
        "Question: How long is parental leave?",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the suite needs to know of an engine.

    `versions` are two adapters of its base that change its text; `queue_length` is how many requests
    it takes at once, at least three, None for an engine whose queue is elsewhere.
    """

    engine: Engine
    versions: tuple[AdapterVersion, AdapterVersion]
    queue_length: int | None = None


async def collect(engine: Engine, request: GenerateRequest) -> list[Delta]:
    """All deltas of one generation."""
    async with aclosing(engine.generate(request)) as deltas:
        return [delta async for delta in deltas]


def text_of(deltas: list[Delta]) -> str:
    """Return the generated text."""
    return "".join(delta.text for delta in deltas)


def request(adapter: str | None = None, **sampling: Any) -> GenerateRequest:  # noqa: ANN401 - Sampling's fields
    """Return a short request about the passages of `MESSAGES`."""
    return GenerateRequest(
        messages=MESSAGES, adapter=adapter, sampling=Sampling(**{"max_tokens": 12, **sampling})
    )


class EngineContract:
    """Tests of an engine. A subclass gives the fixture `subject`."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls) -> Iterator[Run[Any]]:
        """Run coroutines on one event loop for the whole class."""
        with asyncio.Runner() as runner:
            yield runner.run

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, run: Run[Any]) -> Iterator[Subject]:
        """Return the engine under test."""
        raise NotImplementedError

    def test_the_last_delta_carries_finish_and_totals(self, subject: Subject, run: Run[Any]) -> None:
        deltas = run(collect(subject.engine, request()))
        *pieces, last = deltas
        assert all(delta.finish is None for delta in pieces)
        assert last.finish in ("stop", "length")
        assert last.prompt_tokens > 0
        assert 0 < last.completion_tokens <= 12
        assert text_of(deltas).strip()

    def test_deltas_hold_every_token_once(self, subject: Subject, run: Run[Any]) -> None:
        deltas = run(collect(subject.engine, request()))
        tokens = [token for delta in deltas for token in delta.tokens]
        if tokens:  # a server need not tell them
            assert len(tokens) == deltas[-1].completion_tokens

    def test_greedy_text_repeats(self, subject: Subject, run: Run[Any]) -> None:
        first, second = (text_of(run(collect(subject.engine, request()))) for _ in range(2))
        assert first == second

    def test_a_begun_answer_is_continued(self, subject: Subject, run: Run[Any]) -> None:
        whole = text_of(run(collect(subject.engine, request())))
        begun = whole[: whole.rindex(" ")] if " " in whole.strip() else whole[:4]
        asked = replace(request(), messages=(*MESSAGES, Message(role="assistant", content=begun)))
        continued = text_of(run(collect(subject.engine, asked)))
        assert continued and not continued.startswith(begun)

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

    def test_adapters_speak_differently_and_the_base_stays(self, subject: Subject, run: Run[Any]) -> None:
        engine, (one, other) = subject.engine, subject.versions
        before = text_of(run(collect(engine, request())))
        run(engine.load(one))
        run(engine.load(other))
        run(engine.load(one))
        texts = [
            text_of(run(collect(engine, request(adapter=version.digest)))) for version in (one, other, one)
        ]
        assert texts[0] == texts[2]
        assert len({before, texts[0], texts[1]}) == 3
        assert text_of(run(collect(engine, request()))) == before

    def test_concurrent_requests_keep_their_adapters(self, subject: Subject, run: Run[Any]) -> None:
        engine, (one, other) = subject.engine, subject.versions
        wanted = [request(), request(adapter=one.digest), request(adapter=other.digest)]

        async def together() -> list[str]:
            await engine.load(one)
            await engine.load(other)
            return [text_of(d) for d in await asyncio.gather(*(collect(engine, r) for r in wanted))]

        first = run(together())
        assert [text_of(run(collect(engine, r))) for r in wanted] == first
        assert len(set(first)) == 3

    def test_unloaded_adapters_are_refused(self, subject: Subject, run: Run[Any]) -> None:
        one = subject.versions[0]
        run(subject.engine.load(one))
        run(subject.engine.unload(one.digest))
        run(subject.engine.unload(one.digest))
        with pytest.raises(AdapterError):
            run(collect(subject.engine, request(adapter=one.digest)))

    def test_an_adapter_of_another_base_is_refused(self, subject: Subject, run: Run[Any]) -> None:
        foreign = replace(subject.versions[0], digest="f" * 64, base_digest="0" * 64)
        with pytest.raises(AdapterError, match="base"):
            run(subject.engine.load(foreign))

    def test_a_missing_adapter_is_refused(self, subject: Subject, run: Run[Any]) -> None:
        one = subject.versions[0]
        gone = replace(one, digest="e" * 64, path=one.path / "gone")
        with pytest.raises(AdapterError, match="does not exist"):
            run(subject.engine.load(gone))

    def test_too_long_is_refused_at_once(self, subject: Subject, run: Run[Any]) -> None:
        with pytest.raises(TooLarge):
            run(collect(subject.engine, request(max_tokens=subject.engine.context_tokens)))

    def test_nothing_asked_is_refused(self, subject: Subject, run: Run[Any]) -> None:
        with pytest.raises(BadRequest):
            run(collect(subject.engine, GenerateRequest()))

    def test_closing_the_iterator_frees_the_engine(self, subject: Subject, run: Run[Any]) -> None:
        async def leave() -> str:
            async with aclosing(subject.engine.generate(request(max_tokens=500))) as deltas:
                async for delta in deltas:
                    return delta.text
            return ""

        assert run(leave())
        assert text_of(run(asyncio.wait_for(collect(subject.engine, request()), 30)))

    def test_a_full_queue_is_overloaded(self, subject: Subject, run: Run[Any]) -> None:
        if subject.queue_length is None:
            pytest.skip("its queue is elsewhere")
        count = subject.queue_length + 3

        async def crowd() -> list[object]:
            asked = (collect(subject.engine, request()) for _ in range(count))
            return await asyncio.gather(*asked, return_exceptions=True)

        results = run(crowd())
        refused = [result for result in results if isinstance(result, Overloaded)]
        assert refused
        assert all(error.retry_after_s > 0 for error in refused)
        assert len(refused) + sum(isinstance(result, list) for result in results) == count

    def test_score_gives_a_log_probability_per_token(self, subject: Subject, run: Run[Any]) -> None:
        engine, completion = subject.engine, " Parental leave lasts 18 weeks"
        try:
            scores = run(engine.score(MESSAGES, completion))
        except Unsupported:
            pytest.skip("this engine does not score")
        assert len(scores) > 0
        assert all(score <= 0 and math.isfinite(score) for score in scores)
        assert run(engine.score(MESSAGES, completion)) == scores
        assert run(engine.score(MESSAGES, "")) == []

    def test_score_depends_on_the_adapter(self, subject: Subject, run: Run[Any]) -> None:
        engine, one = subject.engine, subject.versions[0]
        run(engine.load(one))
        said = text_of(run(collect(engine, request(adapter=one.digest))))
        try:
            plain, adapted = (run(engine.score(MESSAGES, said, adapter)) for adapter in (None, one.digest))
        except Unsupported:
            pytest.skip("this engine does not score")
        assert plain != adapted

    def test_counts(self, subject: Subject) -> None:
        engine = subject.engine
        assert engine.count_tokens("") == 0
        assert 0 < engine.count_tokens("How long?") < engine.count_tokens("How long is parental leave?")
        assert engine.prompt_tokens(MESSAGES) > engine.count_tokens(MESSAGES[1].content)

    def test_the_fingerprint_is_stable(self, subject: Subject) -> None:
        assert subject.engine.fingerprint == subject.engine.fingerprint
        assert len(subject.engine.fingerprint.base_digest) == 64
