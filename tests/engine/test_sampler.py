import torch

from assistant.engine.base import Sampling
from assistant.engine.sampler import Sampler

LOGITS = torch.tensor([0.0, 3.0, 2.9, -1.0, 2.0])


def draws(count=200, **sampling):
    sampler = Sampler(Sampling(temperature=1.0, seed=1, **sampling), prompt=(1,))
    return {sampler(LOGITS) for _ in range(count)}


def test_greedy_takes_the_likeliest():
    assert Sampler(Sampling(), prompt=())(LOGITS) == 1


def test_top_k_keeps_k():
    assert draws(top_k=2) == {1, 2}
    assert draws(top_k=99) >= {0, 1, 2, 4}


def test_top_p_keeps_the_smallest_set_that_holds_it():
    shares = LOGITS.softmax(0)
    assert draws(top_p=float(shares[1]) - 0.01) == {1}
    assert draws(top_p=float(shares[1]) + 0.01) == {1, 2}
    assert draws(top_p=0.0) == {1}


def test_low_temperature_is_nearly_greedy():
    sampler = Sampler(Sampling(temperature=0.01, seed=1), prompt=())
    assert {sampler(LOGITS) for _ in range(50)} == {1}


def test_repetition_penalty_counts_prompt_and_completion():
    sampler = Sampler(Sampling(repetition_penalty=1.1), prompt=(1,))
    assert [sampler(LOGITS) for _ in range(2)] == [2, 1]
    assert Sampler(Sampling(repetition_penalty=1.1), prompt=())(LOGITS) == 1


def test_seeds_repeat_and_no_seed_varies():
    def series(seed):
        sampler = Sampler(Sampling(temperature=2.0, seed=seed), prompt=())
        return [sampler(LOGITS) for _ in range(40)]

    assert series(5) == series(5) != series(6)
    assert series(None) != series(None)
