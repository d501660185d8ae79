import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assistant.engine.base import Sampling
from assistant.engine.sampler import Drawn, Sampler, _pick, draw, kept
from assistant.errors import EngineError

LOGITS = torch.tensor([0.0, 3.0, 2.9, -1.0, 2.0])
NAN, INFINITY = float("nan"), float("inf")


def draws(count=200, logits=LOGITS, **sampling):
    """The tokens of `count` draws that do not see each other."""
    return {
        Sampler(Sampling(**{"temperature": 1.0, **sampling}, seed=seed), prompt=(1,))(logits)
        for seed in range(count)
    }


def reference(logits, sampling, prompt=(), completion=()):
    """The probability of each token that may be drawn."""
    scores = list(logits)
    for token in {*prompt, *completion}:
        penalty = sampling.repetition_penalty
        scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
    for token in set(completion):
        scores[token] -= sampling.presence_penalty
    best = max(scores)
    if sampling.temperature == 0:
        return {scores.index(best): 1.0}
    weights = {token: math.exp((score - best) / sampling.temperature) for token, score in enumerate(scores)}
    ordered = sorted(weights, key=lambda token: -weights[token])
    if sampling.top_k:
        ordered = ordered[: sampling.top_k]
    ordered = [token for token in ordered if weights[token] >= sampling.min_p]
    whole = sum(weights[token] for token in ordered)
    nucleus, reached = [], 0.0
    for token in ordered:
        nucleus.append(token)
        reached += weights[token]
        if sampling.top_p < 1.0 and reached >= sampling.top_p * whole:
            break
    held = sum(weights[token] for token in nucleus)
    return {token: weights[token] / held for token in nucleus}


def shares(logits, sampling):
    weights, tokens = kept(logits.numpy(), sampling)
    names = range(len(weights)) if tokens is None else tokens.tolist()
    total = weights.sum(dtype=float)
    return {name: float(w / total) for name, w in zip(names, weights, strict=True) if w > 0}


samplings = st.builds(
    Sampling,
    temperature=st.floats(0.3, 3.0),
    top_k=st.sampled_from([0, 1, 2, 7, 40, 10_000]),
    top_p=st.sampled_from([0.05, 0.3, 0.7, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
)


def distinct(size, seed, spread):
    """Logits of which no two are equal, in no order."""
    values = [spread * n / size + 1e-3 for n in range(-size // 2, size - size // 2)]
    random.Random(seed).shuffle(values)
    return values


@given(samplings, st.integers(1, 300), st.integers(0, 1000), st.floats(1.0, 20.0))
@settings(deadline=None, max_examples=100)
def test_what_may_be_drawn_is_the_references(sampling, size, seed, spread):
    logits = distinct(size, seed, spread)
    expected = reference(logits, sampling)
    found = shares(torch.tensor(logits), sampling)
    # the two differ by rounding where a token stands exactly at a border: such examples say nothing
    assume(set(found) == set(expected) or not _at_a_border(logits, sampling))
    assert set(found) == set(expected)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)


def _at_a_border(logits, sampling):
    nudged = (
        reference(logits, replace(sampling, top_p=sampling.top_p * (1 + e), min_p=sampling.min_p * (1 + e)))
        for e in (-1e-4, 1e-4)
    )
    return len({frozenset(each) for each in nudged}) > 1


@pytest.mark.parametrize("temperature", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("top_p", [0.001, 0.2, 0.9, 0.999])
def test_nuclei_of_a_large_vocabulary_are_the_references(temperature, top_p):
    logits = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 3
    sampling = Sampling(temperature=temperature, top_p=top_p)
    found = shares(logits, sampling)
    expected = reference(logits.tolist(), sampling)
    assert len(found) == pytest.approx(len(expected), rel=1e-4, abs=0)  # from 1 to nearly all
    assert sorted(found.values()) == pytest.approx(sorted(expected.values())[-len(found) :], rel=1e-3)


def test_greedy_takes_the_likeliest_and_the_first_of_equals():
    assert Sampler(Sampling())(LOGITS) == 1
    assert Sampler(Sampling())(torch.tensor([1.0, 5.0, 5.0])) == 1


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 5e-324])
def test_a_temperature_next_to_nothing_is_greedy(temperature):
    assert draws(20, temperature=temperature) == {1}
    assert draws(20, torch.tensor([0.0, -INFINITY, 3e38]), temperature=temperature) == {2}


@pytest.mark.parametrize("seed", range(30))
def test_what_is_picked_at_the_border_of_a_block_has_weight(seed):
    """Sums by the block and within it round differently, so a border may lie on either side."""
    weights = np.random.default_rng(seed).random(1500, dtype=np.float32)
    weights[weights < 0.3] = 0.0
    weights[250:262] = weights[505:512] = weights[1490:] = 0.0
    reached = weights.cumsum(dtype=np.float64)
    for border in (*reached[240:270], *reached[500:520], *reached[-20:]):
        for part in (border, np.nextafter(border, 0), np.nextafter(border, 1e9)):
            place = _pick(weights, min(part / reached[-1], 1.0))
            assert weights[place] > 0
            assert reached[place] == pytest.approx(part, abs=1.0)


def test_a_low_temperature_takes_the_likeliest_of_far_apart_scores():
    assert draws(50, temperature=2e-5) == {1}
    assert draws(50, torch.tensor([3e38, -3e38, -INFINITY]), temperature=2e-5) == {0}


def test_top_k_keeps_k():
    assert draws(top_k=2) == {1, 2}
    assert draws(top_k=1) == {1}
    assert draws(top_k=99) >= {0, 1, 2, 4}


def test_top_p_keeps_the_smallest_set_that_holds_it():
    shares = LOGITS.softmax(0)
    assert draws(top_p=float(shares[1]) - 0.01) == {1}
    assert draws(top_p=float(shares[1]) + 0.01) == {1, 2}
    assert draws(top_p=0.0) == {1}


def test_min_p_keeps_what_holds_that_share_of_the_likeliest():
    assert draws(min_p=0.5) == {1, 2}
    assert draws(min_p=0.3) == {1, 2, 4}
    assert draws(min_p=1.0) == {1}


def test_top_p_counts_what_top_k_and_min_p_left():
    share = float(LOGITS[[1, 2]].softmax(0)[0])  # alone of two it holds more than of five
    assert share > LOGITS.softmax(0)[1] + 0.05
    assert draws(top_k=2, top_p=share - 0.01) == {1}
    assert draws(min_p=0.5, top_p=share - 0.01) == {1}
    assert draws(top_p=share - 0.01) == {1, 2}


def test_tokens_come_as_often_as_they_are_likely():
    for sampling in (
        Sampling(temperature=0.8),
        Sampling(temperature=1.5, top_k=4),
        Sampling(temperature=1.0, top_p=0.95, min_p=0.05),
    ):
        sampler = Sampler(replace(sampling, seed=11))
        count = 1500
        found = Counter(sampler(LOGITS) for _ in range(count))
        expected = reference(LOGITS.tolist(), sampling)
        assert set(found) <= set(expected)
        for token, share in expected.items():
            assert abs(found[token] / count - share) < 4 * math.sqrt(share * (1 - share) / count) + 1e-9


def test_the_tail_of_a_large_vocabulary_is_drawn_as_often_as_it_is_likely():
    """Tens of thousands of tokens, each far below the likeliest: single precision would lose them."""
    logits = torch.zeros(50_000)
    logits[0] = math.log(50_000 * 9)  # the first token holds 9 tenths
    sampler = Sampler(Sampling(temperature=1.0, seed=3))
    drawn = [sampler(logits) for _ in range(1000)]
    tail = [token for token in drawn if token]
    assert 60 < len(tail) < 140
    assert 20_000 < sum(tail) / len(tail) < 30_000


@given(st.integers(0, 2**64), st.lists(st.booleans(), min_size=1, max_size=40))
@settings(deadline=None)
def test_a_token_of_no_probability_is_never_drawn(seed, possible):
    assume(any(possible))
    logits = torch.tensor([0.0 if p else -INFINITY for p in possible])
    sampler = Sampler(Sampling(temperature=1.0, seed=seed))
    assert all(possible[sampler(logits)] for _ in range(5))


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_the_smallest_and_the_largest_random_number_draw_a_possible_token(number):
    sampler = Sampler(Sampling(temperature=1.0))
    sampler._random.random = lambda: number
    assert sampler(torch.tensor([-INFINITY, 0.0, 1.0, -INFINITY])) in (1, 2)


def test_the_repetition_penalty_counts_prompt_and_completion():
    sampler = Sampler(Sampling(repetition_penalty=1.1), prompt=(1,))
    assert [sampler(LOGITS) for _ in range(2)] == [2, 1]
    assert Sampler(Sampling(repetition_penalty=1.1))(LOGITS) == 1


def test_the_presence_penalty_counts_the_completion_only_and_once():
    sampler = Sampler(Sampling(presence_penalty=0.5), prompt=(1, 1, 1))
    assert [sampler(LOGITS) for _ in range(4)] == [1, 2, 1, 1]  # 3.0 and 2.9, then 2.5 and 2.4, above 2.0
    rewarded = Sampler(Sampling(presence_penalty=-2.0))
    assert [rewarded(LOGITS), rewarded(torch.tensor([0.0, 3.0, 4.9, 0.0, 0.0]))] == [1, 1]


@given(
    st.integers(0, 1000),
    st.lists(st.integers(0, 19), max_size=8),
    st.sampled_from([0.5, 1.0, 1.3, 10.0]),
    st.sampled_from([-2.0, -0.3, 0.0, 0.7, 2.0]),
    st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_penalties_are_the_references(seed, prompt, repetition, presence, greedy):
    sampling = Sampling(
        temperature=0.0 if greedy else 1.0,
        top_k=0 if greedy else 3,
        seed=seed,
        repetition_penalty=repetition,
        presence_penalty=presence,
    )
    sampler, completion = Sampler(sampling, prompt), []
    for step in range(6):
        logits = distinct(20, seed + step, 6.17)  # no penalty makes two of them equal
        token = sampler(torch.tensor(logits))
        assert token in reference(logits, sampling, prompt, completion)
        completion.append(token)


def test_seeds_repeat_and_no_seed_varies():
    def series(seed):
        sampler = Sampler(Sampling(temperature=2.0, seed=seed))
        return [sampler(LOGITS) for _ in range(40)]

    assert series(5) == series(5) != series(6)
    assert series(-5) == series(-5) != series(5)
    assert series(None) != series(None)


rows = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.5]),
    top_k=st.sampled_from([0, 5]),
    top_p=st.sampled_from([0.5, 1.0]),
    min_p=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 5),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    logprobs=st.sampled_from([None, 0, 2]),
)


@given(st.lists(rows, min_size=1, max_size=6), st.randoms(), st.sampled_from([torch.float32, torch.bfloat16]))
@settings(deadline=None, max_examples=60)
def test_a_row_draws_the_same_alone_and_in_any_company(samplings, shuffler, dtype):
    generator = torch.Generator().manual_seed(len(samplings))
    steps = [(torch.randn(len(samplings), 50, generator=generator) * 4).to(dtype) for _ in range(4)]
    untouched = [step.clone() for step in steps]
    alone = []
    for number, sampling in enumerate(samplings):
        sampler = Sampler(sampling, (1, 2))
        alone.append([draw([sampler], step[number : number + 1])[0] for step in steps])
    order = list(range(len(samplings)))
    shuffler.shuffle(order)
    together = [Sampler(samplings[number], (1, 2)) for number in order]
    for step, logits in enumerate(steps):
        drawn = draw(together, logits[order])
        assert drawn == [alone[number][step] for number in order]
    assert all(torch.equal(*pair) for pair in zip(steps, untouched, strict=True))


def test_requests_may_join_and_leave_between_steps():
    sampling = Sampling(temperature=1.5, seed=9, repetition_penalty=1.2)
    alone, joined = Sampler(sampling), Sampler(sampling)
    others = [Sampler(Sampling(temperature=1.0)) for _ in range(3)]
    for step in range(6):
        company = others[: step % 4]
        logits = torch.randn(len(company) + 1, 30)
        assert draw([*company, joined], logits)[-1] == draw([alone], logits[-1:])[0]


def test_logprobs_are_the_models_own_before_any_setting():
    sampling = Sampling(
        temperature=0.5, top_k=2, seed=1, repetition_penalty=5.0, presence_penalty=1.0, logprobs=3
    )
    expected = LOGITS.log_softmax(0)
    sampler = Sampler(sampling, prompt=(1,))
    for _ in range(3):
        [drawn] = draw([sampler], LOGITS[None])
        assert drawn.logprob.token == drawn.token
        assert drawn.logprob.logprob == pytest.approx(float(expected[drawn.token]))
        assert [token for token, _ in drawn.logprob.likeliest] == [1, 2, 4]
        assert [p for _, p in drawn.logprob.likeliest] == pytest.approx(expected[[1, 2, 4]].tolist())


def test_logprobs_are_given_as_asked():
    rows = [Sampler(Sampling(logprobs=asked)) for asked in (None, 0, 1, 20)]
    given = [drawn.logprob for drawn in draw(rows, LOGITS.repeat(4, 1))]
    assert given[0] is None
    assert [len(logprob.likeliest) for logprob in given[1:]] == [0, 1, 5]
    assert sum(math.exp(p) for _, p in given[3].likeliest) == pytest.approx(1.0)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, top_p=0.9, seed=1)])
@pytest.mark.parametrize(
    "broken", [[NAN, 1.0, 2.0], [1.0, 2.0, NAN], [INFINITY, 0.0, 0.0], [-INFINITY, -INFINITY, -INFINITY]]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_without_numbers_fails_alone(sampling, broken, dtype):
    logits = torch.tensor([[0.0, 1.0, 9.0], broken, [9.0, 1.0, 0.0]], dtype=dtype)
    first, second, third = draw([Sampler(sampling) for _ in range(3)], logits)
    assert isinstance(second, EngineError) and "not numbers" in second.message and second.remedy
    assert (first, third) == (Drawn(token=2), Drawn(token=0))
    with pytest.raises(EngineError, match="not numbers"):
        Sampler(sampling)(logits[1])


def test_a_penalty_that_leaves_nothing_fails_its_row_alone():
    sampling = Sampling(temperature=1.0, repetition_penalty=10.0)
    logits = torch.tensor([[-3e38, -3e38], [-3e38, -3e38]])
    first, second = draw([Sampler(sampling, prompt=(0, 1)), Sampler(Sampling())], logits)
    assert isinstance(first, EngineError) and second == Drawn(token=0)


def test_a_step_without_rows_draws_nothing():
    assert draw([], torch.empty(0, 7)) == []
