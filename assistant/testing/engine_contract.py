"""The suite every engine passes: subclass `EngineContract`, give it fixtures, and pytest runs it.

    class TestMyEngine(EngineContract):
        @pytest.fixture(scope="class")
        @classmethod
        def subject(cls, run): ...

It owns what the engine contract means in behaviour; it refuses to test speed or the quality of text.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.engine.base import Engine, GenerateRequest
from assistant.errors import (
    AdapterError,
    BadRequest,
    DeadlineExceeded,
    EngineError,
    Overloaded,
    TooLarge,
    Unsupported,
)
from assistant.testing.engine_subject import MESSAGES as MESSAGES
from assistant.testing.engine_subject import Run as Run
from assistant.testing.engine_subject import Subject as Subject
from assistant.testing.engine_subject import collect as collect
from assistant.testing.engine_subject import request as request
from assistant.testing.engine_subject import text_of as text_of
from assistant.testing.sampling_contract import SamplingContract
from assistant.types import Message


class EngineContract(SamplingContract):
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

    def test_a_begun_answer_is_continued(self, subject: Subject, run: Run[Any]) -> None:
        whole = text_of(run(collect(subject.engine, request())))
        begun = whole[: whole.rindex(" ")] if " " in whole.strip() else whole[:4]
        asked = replace(request(), messages=(*MESSAGES, Message(role="assistant", content=begun)))
        continued = text_of(run(collect(subject.engine, asked)))
        assert continued and not continued.startswith(begun)

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

    def test_a_kind_that_cannot_be_served_is_refused(
        self, subject: Subject, run: Run[Any], tmp_path: Path
    ) -> None:
        one = subject.versions[0]
        folder = shutil.copytree(one.path, tmp_path / "dora")
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
        with pytest.raises(AdapterError, match="DoRA"):
            run(subject.engine.load(replace(one, digest="d" * 64, path=folder)))

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

    def test_a_deadline_ends_the_answer(self, subject: Subject, run: Run[Any]) -> None:
        with pytest.raises(DeadlineExceeded):
            run(collect(subject.engine, replace(request(), deadline_s=1e-9)))
        in_time = run(collect(subject.engine, replace(request(), deadline_s=600.0)))
        assert text_of(in_time) == text_of(run(collect(subject.engine, request())))

    def test_what_may_be_kept_changes_no_text(self, subject: Subject, run: Run[Any]) -> None:
        plain = text_of(run(collect(subject.engine, request())))
        for scope in ("a" * 64, "a" * 64, "b" * 64, None):
            kept = replace(request(), public_messages=1, scope=scope)
            assert text_of(run(collect(subject.engine, kept))) == plain

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

    def test_closing_waits_for_what_runs(self, subject: Subject, run: Run[Any]) -> None:
        async def close_during(engine: Engine) -> str:
            async with aclosing(engine.generate(request())) as deltas:
                text = (await anext(deltas)).text
                closing = asyncio.create_task(engine.close(grace_s=300.0))
                text += "".join([delta.text async for delta in deltas])
            await closing
            with pytest.raises(EngineError):
                await collect(engine, request())
            return text

        assert run(close_during(_another(subject))) == text_of(run(collect(subject.engine, request())))

    def test_closing_at_once_ends_what_runs(self, subject: Subject, run: Run[Any]) -> None:
        async def close_during(engine: Engine) -> None:
            async with aclosing(engine.generate(request(max_tokens=400))) as deltas:
                await anext(deltas)
                await engine.close()
                with suppress(EngineError):  # unless it was complete
                    async for _ in deltas:
                        pass

        run(asyncio.wait_for(close_during(_another(subject)), 60))


def _another(subject: Subject) -> Engine:
    if subject.another is None:
        pytest.skip("no other engine to close")
    return subject.another()
