"""Many requests at once: what each is told is what it would be told alone."""

import asyncio
import random
import time
from contextlib import aclosing
from dataclasses import replace

import pytest
import torch

from assistant.engine.base import GenerateRequest, Sampling
from assistant.engine.local import LocalEngine
from assistant.errors import AdapterError, BadRequest, DeadlineExceeded, EngineError, Overloaded
from assistant.testing.engine_contract import collect, text_of
from assistant.testing.tiny import SIZES, tiny_adapter
from assistant.types import Message

KINDS = (
    {"rank": 2},
    {"rank": 4, "targets": tuple(SIZES), "config": {"lora_alpha": 3, "use_rslora": True}},
    {"rank": 8, "targets": ("q_proj", "v_proj"), "config": {"alpha_pattern": {"v_proj": 9}}},
    {"rank": 3, "targets": ("gate_proj", "down_proj", "o_proj")},
    {"rank": 1, "targets": ("k_proj", "up_proj")},
)


@pytest.fixture(scope="module")
def kinds(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    return [tiny_adapter(folder, base, f"d{n}", seed=n, **kind) for n, kind in enumerate(KINDS)]


@pytest.fixture(scope="module")
def alone(base, kinds):
    """Greedy tokens by PEFT, one request at a time, and the gap of the two best logits at each."""
    import warnings

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    known = {}
    models = {None: AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()}
    for version in kinds:
        fresh = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models[version.digest] = PeftModel.from_pretrained(fresh, str(version.path)).eval()

    @torch.inference_mode()
    def told(prompt, digest, count):
        if (prompt, digest, count) not in known:
            sequence, gaps = list(prompt), []
            for _ in range(count):
                best = models[digest](input_ids=torch.tensor([sequence])).logits[0, -1].topk(2)
                gaps.append(float(best.values[0] - best.values[1]))
                sequence.append(int(best.indices[0]))
            known[prompt, digest, count] = sequence[len(prompt) :], gaps
        return known[prompt, digest, count]

    return told


def opened(base, **settings):
    given = {"cache_mb": 8, "prefix_cache_mb": 1, "batch_size": 6, "resident_adapters": 3, **settings}
    engine = LocalEngine.open(base, dtype="float32", device="cpu", **given)
    engine._tokenizer.ends = frozenset()  # no answer ends early: all lengths are as asked
    return engine


def prompt(seed, length):
    return tuple(torch.randint(3, 250, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


async def tokens_of(engine, given):
    return [token for delta in await collect(engine, given) for token in delta.tokens]


def same_or_near_tie(got, expected):
    """Equal, or first different where the reference's two best were as good as equal."""
    wanted, gaps = expected
    first = next((n for n, (a, b) in enumerate(zip(got, wanted, strict=True)) if a != b), None)
    return first is None or gaps[first] < 1e-4


@pytest.mark.parametrize("seed", range(12))
def test_a_random_mix_tells_each_what_peft_tells_it_alone(base, kinds, alone, seed):
    """Adapters of all ranks and targets, lengths, arrivals and departures; fewer slots than adapters."""
    draw = random.Random(seed)
    digests = [None, *(version.digest for version in kinds)]
    asked = [
        (
            prompt(draw.randrange(6), draw.choice((1, 5, 40, 300))),
            draw.choice(digests),
            draw.choice((1, 8, 20)),
        )
        for _ in range(14)
    ]

    async def mix():
        engine = opened(base, kernels=("auto", "off")[seed % 2], longest_pause_s=draw.choice((0.0001, 1.0)))
        for version in kinds:
            await engine.load(version)

        async def one(given, digest, count):
            await asyncio.sleep(draw.random() * 0.1)
            request = GenerateRequest(
                tokens=given, adapter=digest, scope="all", queue=str(digest),
                sampling=Sampling(max_tokens=count),
            )  # fmt: skip
            if draw.random() < 0.2:
                async with aclosing(
                    engine.generate(replace(request, sampling=Sampling(max_tokens=200)))
                ) as d:
                    async for _ in d:
                        return None
            return await tokens_of(engine, request)

        try:
            return await asyncio.gather(*(one(*each) for each in asked))
        finally:
            await engine.close()

    for given, got in zip(asked, asyncio.run(mix()), strict=True):
        assert got is None or same_or_near_tie(got, alone(*given)), given


def test_deterministic_requests_repeat_among_others(base, kinds):
    async def serve(others):
        engine = opened(base)
        await engine.load(kinds[1])
        rest = [
            asyncio.create_task(
                collect(engine, GenerateRequest(tokens=prompt(n, 30), sampling=Sampling(max_tokens=40)))
            )
            for n in range(others)
        ]
        given = GenerateRequest(
            tokens=prompt(99, 300),
            adapter=kinds[1].digest,
            deterministic=True,
            sampling=Sampling(max_tokens=20, temperature=1.0, seed=4, logprobs=0),
        )
        drawn = [p for d in await collect(engine, given) for p in d.logprobs]
        await asyncio.gather(*rest)
        await engine.close()
        return [(each.token, each.logprob) for each in drawn]

    assert asyncio.run(serve(0)) == asyncio.run(serve(4)) == asyncio.run(serve(1))


def test_earlier_computation_is_used_again_but_not_across_scopes(base):
    async def serve():
        engine = opened(base)
        system = Message(role="system", content="Answer from the passages. " * 8)
        asked = (system, Message(role="user", content="[1] Salaries\nThe board earns 9. " * 8))

        async def reused(scope):
            given = GenerateRequest(
                messages=asked, public_messages=1, scope=scope, sampling=Sampling(max_tokens=4)
            )
            deltas = await collect(engine, given)
            return text_of(deltas), deltas[-1].reused_tokens

        told = [await reused(scope) for scope in ("board", "board", "staff", None)]
        public = len(engine._tokenizer.prompt((system,)))
        await engine.close()
        return told, public, engine.stats()

    told, public, stats = asyncio.run(serve())
    texts, counts = zip(*told, strict=True)
    assert len(set(texts)) == 1
    assert counts[0] == 0
    assert counts[1] > public, "the same scope finds the passages too"
    assert 0 < counts[2] <= public, "another scope finds the system prompt only"
    assert counts[3] == counts[2]
    assert stats.reused_tokens == sum(counts)


def test_a_deadline_ends_what_runs_and_what_waits(base):
    async def serve():
        engine = opened(base, batch_size=1)
        long = GenerateRequest(tokens=prompt(1, 10), sampling=Sampling(max_tokens=900), deadline_s=0.3)
        results = await asyncio.gather(*(collect(engine, long) for _ in range(2)), return_exceptions=True)
        await collect(engine, replace(long, sampling=Sampling(max_tokens=2), deadline_s=None))
        await engine.close()
        return results, engine.stats()

    results, stats = asyncio.run(serve())
    assert [type(result) for result in results] == [DeadlineExceeded, DeadlineExceeded]
    assert "0.3 s" in str(results[0])
    assert (stats.expired, stats.finished, stats.running) == (2, 1, 0)


def test_closing_with_grace_finishes_what_runs_and_takes_nothing_new(base):
    async def serve():
        engine = opened(base)
        given = GenerateRequest(tokens=prompt(1, 10), sampling=Sampling(max_tokens=60))
        run = engine._model.run
        engine._model.run = lambda spans: (time.sleep(0.005), run(spans))[1]  # as on a slow machine
        running = asyncio.create_task(collect(engine, given))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(engine.close(grace_s=20))
        await asyncio.sleep(0.02)
        with pytest.raises(Overloaded, match="closing"):
            await collect(engine, given)
        await closing
        return await running

    assert asyncio.run(serve())[-1].completion_tokens == 60


def test_an_error_in_one_step_reaches_only_those_in_it(base):
    async def serve():
        engine = opened(base)
        given = GenerateRequest(tokens=prompt(1, 10), sampling=Sampling(max_tokens=5))
        run = engine._model.run

        def fails(spans):
            engine._model.run = run
            raise RuntimeError("out of memory")

        engine._model.run = fails
        with pytest.raises(EngineError, match="out of memory"):
            await collect(engine, given)
        told = await tokens_of(engine, given)
        used = engine._model.cache.lanes.used
        await engine.close()
        return told, used

    told, used = asyncio.run(serve())
    assert len(told) == 5
    assert used == 0, "its room is free again"


def test_an_adapter_that_vanishes_fails_its_request_only(base, tmp_path):
    async def serve():
        engine = opened(base, resident_adapters=1)
        one, other = (tiny_adapter(tmp_path, base, name, seed=n) for n, name in enumerate("ab"))
        await engine.load(one)
        await engine.load(other)
        (other.path / "adapter_model.safetensors").unlink()
        asked = [
            GenerateRequest(tokens=prompt(1, 10), adapter=v.digest, sampling=Sampling(max_tokens=5))
            for v in (one, other)
        ]
        results = await asyncio.gather(*(collect(engine, each) for each in asked), return_exceptions=True)
        await engine.close()
        return results

    fine, failed = asyncio.run(serve())
    assert fine[-1].completion_tokens == 5
    assert isinstance(failed, AdapterError)


def test_pinned_adapters_stay_while_others_come_and_go(base, kinds):
    async def serve():
        engine = opened(base, resident_adapters=2)
        await engine.pin([kinds[0].digest])
        for version in kinds:
            await engine.load(version)
        for version in kinds[1:]:
            await collect(
                engine,
                GenerateRequest(
                    tokens=prompt(1, 10), adapter=version.digest, sampling=Sampling(max_tokens=2)
                ),
            )
        resident = engine._slots.resident
        await engine.close()
        return resident, engine.stats()

    resident, stats = asyncio.run(serve())
    assert kinds[0].digest in resident
    assert (stats.adapters_resident, stats.adapter_loads, stats.adapter_evictions) == (2, 5, 3)


def test_a_request_waits_for_room_and_then_runs(base):
    """Each takes half of the smallest cache there can be."""

    async def serve():
        engine = opened(base, cache_mb=1, batch_size=1)
        given = GenerateRequest(tokens=prompt(1, 400), sampling=Sampling(max_tokens=100))
        told = await asyncio.gather(*(tokens_of(engine, given) for _ in range(5)))
        await engine.close()
        return told

    told = asyncio.run(serve())
    assert [len(tokens) for tokens in told] == [100] * 5
    assert len({tuple(tokens) for tokens in told}) == 1


def test_a_call_that_nobody_waits_for_any_more_is_left_out(base, kinds):
    async def serve():
        engine = opened(base)
        running = asyncio.create_task(
            collect(engine, GenerateRequest(tokens=prompt(1, 10), sampling=Sampling(max_tokens=40)))
        )
        await asyncio.sleep(0.02)
        for version in kinds:
            loading = asyncio.create_task(engine.load(version))
            await asyncio.sleep(0.001)
            loading.cancel()
        told = await running
        await engine.close()
        return told

    assert asyncio.run(serve())[-1].completion_tokens == 40


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_engine_itself_breaks_everybody_is_told(base):
    async def serve():
        engine = opened(base, batch_size=1)
        given = GenerateRequest(tokens=prompt(1, 10), sampling=Sampling(max_tokens=500))
        waiting = [asyncio.create_task(collect(engine, given)) for _ in range(3)]
        await asyncio.sleep(0.05)

        def broken():
            raise ValueError("no such row")

        engine._loop._scheduler.schedule = broken
        results = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(EngineError, match="closed"):
            await collect(engine, given)
        await engine.close()
        return results

    results = asyncio.run(serve())
    assert all(isinstance(result, EngineError) for result in results)
    assert "broke down: ValueError: no such row" in str(results[0])


@pytest.mark.parametrize("tokens", [(5, -1), (5, 10**6)])
def test_tokens_that_the_model_does_not_have_are_refused(base, tokens):
    async def serve():
        engine = opened(base)
        try:
            await collect(engine, GenerateRequest(tokens=tokens))
        finally:
            await engine.close()

    with pytest.raises(BadRequest, match="below"):
        asyncio.run(serve())
