"""The arithmetic of the parts on made-up records, and every part once on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.base import Delta, TokenLogprob
from benchmarks import engine
from benchmarks.parts import arrivals, cold, gap, load, mixes, on_gpu, overload, trial
from benchmarks.parts.bench import Rounds, alternate
from benchmarks.parts.floor import Floor, Size
from benchmarks.parts.load import Sent
from benchmarks.rates import Rates, width
from benchmarks.sides.base import Call, Record
from benchmarks.sides.ours import Outcome
from benchmarks.sides.with_peft import Reference


def test_sides_alternate_in_turned_order():
    order = []
    sides = {name: lambda name=name: order.append(name) or Record(stamps=((1.0,),)) for name in "ab"}
    alternate(sides, 3)
    assert "".join(order) == "abbaab"


def test_ratios_are_taken_round_by_round():
    rounds = Rounds(
        {
            "one": [Record(stamps=((value,),)) for value in (1.0, 20.0, 3.0)],
            "other": [Record(stamps=((value,),)) for value in (2.0, 10.0, 6.0)],
        }
    )
    assert rounds.ratio("one", "other", lambda record: record.seconds) == 0.5
    assert rounds.median("one", lambda record: record.seconds) == 3.0


def test_a_quick_run_has_no_bars(bench):
    assert bench.figure("f", 1.23456, "s", at_least=2, aim=3).as_dict() == {
        "figure": "f",
        "value": 1.235,
        "unit": "s",
        "bar": None,
        "holds": None,
    }


def test_a_trial_is_scaled_to_the_work():
    small = [Call(tokens=(1,) * 10, new_tokens=3)] * 2
    large = [Call(tokens=(1,) * 100, new_tokens=11)] * 4
    record = Record(stamps=((1.0, 1.5, 2.0), (1.0, 1.5, 2.0)))
    assert trial.extrapolated(record, small, large) == 1.0 * 20 + 0.5 * 10 * 2
    assert trial.extrapolated(record, small, large, computed=True) == 0.5 * 10 * 2


def test_a_quick_run_tries_the_dtype_with_the_faster_products(bench):
    faster = replace(bench, rates=Rates(float32=1.0, bfloat16=2.0, copy=1.0))
    assert trial.dtypes(faster) == ("bfloat16",)
    assert trial.dtypes(replace(faster, quick=False)) == ("float32", "bfloat16")


def test_the_floor_counts_weights_context_and_adapters():
    size = Size(hidden=4, inner=8, layers=2, heads=2, key_heads=1, head=2, vocabulary=10)
    assert size.weights == 2 * (16 + 8 + 8 + 16 + 32 * 3) + 40
    assert size.key_values == 2 * 2 * 2
    calls = [Call(tokens=(1,) * 9, new_tokens=2, adapter=adapter) for adapter in (None, 0, 0)]
    floor = Floor.of(size, calls, bytes_per_number=4, rank=3)
    adapter = 2 * (8 + 6 + 6 + 8 + 12 * 3)
    assert floor.bytes == 4 * (size.weights + 30 * 8 + 3 * adapter)
    assert floor.operations == 2 * 3 * size.weights + 4 * 30 * 2 * 2 * 2 + 2 * 2 * 3 * adapter
    rates = Rates(float32=1e3, bfloat16=1e6, copy=1e9)
    assert floor.seconds(rates, "float32") == floor.operations / 1e3
    once = Floor.whole(size, calls[:1])
    assert once.operations == 2 * 10 * (size.weights - 40) + 2 * 2 * 40 + 2 * 10**2 * 2 * 2 * 2
    assert Floor.whole(size, calls[1:2], rank=3).operations == once.operations + 2 * 10 * 3 * adapter


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32 packed", 4), ("bfloat16", 2), ("prefill bfloat16, decode float32", 4)],
)
def test_what_a_side_decodes_in_sets_the_width(dtype, size):
    assert width(dtype) == size


def test_arrivals_are_seeded_and_of_the_rate():
    times = arrivals.poisson(2000, 4.0)
    assert times == arrivals.poisson(2000, 4.0)
    assert times[0] == 0.0
    assert times == sorted(times)
    assert times[-1] == pytest.approx(500, rel=0.1)


def test_a_static_batch_waits_for_its_last_request_and_the_batch_before():
    assert arrivals.static_makespan([0.0, 1.0, 2.0, 3.0, 9.0], 2, [5.0, 2.0, 1.0]) == 10.0
    assert arrivals.static_makespan([0.0, 1.0, 2.0, 3.0, 4.0], 2, [5.0, 2.0, 1.0]) == 9.0


REFERENCE = Reference(tokens=(1, 2, 3, 4), margins=(1.0, 1e-5, 1.0, 1.0))


@pytest.mark.parametrize(
    ("tokens", "wanted", "verdict"),
    [
        ((1, 2, 3, 4), 4, "equal"),
        ((1, 2, 3), 2, "equal"),  # cancelled after two, a third was on its way
        ((1, 9, 9, 9), 4, "tie"),
        ((9, 2, 3, 4), 4, "wrong"),
        ((1, 2, 9, 4), 4, "wrong"),
        ((1, 2), 4, "wrong"),
        ((1, 2, 3, 4, 5), 4, "wrong"),
        ((), 1, "wrong"),
    ],
)
def test_tokens_are_judged_by_their_first_difference(tokens, wanted, verdict):
    assert mixes.judge(tokens, REFERENCE, wanted) == verdict


def test_mixes_are_seeded_and_varied():
    pool = [Call(tokens=(n,), new_tokens=5) for n in range(9)]
    drawn = list(mixes.draw(50, pool, seed=1))
    assert drawn == list(mixes.draw(50, pool, seed=1))
    asked = [each for mix in drawn for each in mix]
    assert {each.call for each in asked} == set(range(9))
    assert all(each.until is None or 1 <= each.until < 5 for each in asked)
    assert 0.1 < mean(each.until is not None for each in asked) < 0.3


def _written(*tokens: int) -> Outcome:
    logs = [TokenLogprob(token=token, logprob=-0.5, likeliest=((token, -0.5), (0, -2.0))) for token in tokens]
    return Outcome(stamps=(), deltas=tuple(Delta(text="", tokens=(t.token,), logprobs=(t,)) for t in logs))


def test_gaps_are_compared_up_to_the_first_different_token():
    assert len(gap.shared(_written(1, 2, 3), _written(1, 2, 3))) == 3
    first, second = gap.shared(_written(1, 2, 3), _written(1, 5, 3))
    assert first == ({1: -0.5, 0: -2.0}, {1: -0.5, 0: -2.0})
    assert set(second[0]) & set(second[1]) == {0}


def test_an_output_is_its_own_reference():
    assert cold.own_reference(_written(7, 8)) == Reference(tokens=(7, 8), margins=(1.5, 1.5))


def test_memory_moves_around_its_median():
    assert cold.spread_of([100, 98, 100, 103, 100]) == 0.03


def test_this_process_takes_memory():
    assert 20e6 < cold.resident_bytes() < 100e9


def test_a_schedule_is_seeded_sorted_and_of_the_rates():
    planned = load.schedule({"a": 5.0, "b": 1.0}, 400.0, seed=3)
    assert planned == load.schedule({"a": 5.0, "b": 1.0}, 400.0, seed=3)
    assert planned == sorted(planned)
    assert [name for _, name in planned].count("a") == pytest.approx(2000, rel=0.1)
    assert all(0 < at < 400 for at, _ in planned)


@given(
    offered=st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 100), min_size=1),
    share=st.floats(0, 1),
)
def test_fair_shares_divide_what_was_served(offered, share):
    served = share * sum(offered.values())
    shares = load.fair_shares(offered, served)
    assert sum(shares.values()) == pytest.approx(served)
    assert all(shares[name] <= offered[name] * (1 + 1e-9) for name in offered)
    most = max(shares.values())
    assert all(shares[name] >= min(offered[name], most) * (1 - 1e-9) for name in offered)


def _served(department: str, at_s: float, end_s: float) -> Sent:
    return Sent(department=department, at_s=at_s, tokens=10, end="served", first_s=at_s + 1, end_s=end_s)


def test_saturation_leaves_out_filling_and_draining():
    sent = [_served("a", 0.0, end) for end in (5.0, 6.0, 7.0, 8.0, 9.0, 30.0)]
    assert overload.saturation(sent) == pytest.approx(4 / (9 - 5))


def test_what_ends_after_the_load_is_not_goodput():
    sent = [_served("a", 0.0, 5.0), _served("a", 9.0, 11.0)]
    assert overload.goodput(sent, overload.Window(0.0, 10.0)) == 0.1


def test_a_department_that_offers_little_is_owed_no_more():
    refused = [Sent(department="flood", at_s=0.0, tokens=10, end="refused")] * 20
    sent = [*(_served("flood", 0.0, 1.0) for _ in range(6)), *refused, _served("small", 0.0, 1.0)]
    assert overload.shares(sent, overload.Window(0.0, 10.0)) == {"flood": 1.0, "small": 1.0}
    greedy = [*(_served("flood", 0.0, 1.0) for _ in range(6)), *refused]
    starved = [Sent(department="small", at_s=0.0, tokens=10, end="refused")] * 6
    assert overload.shares([*greedy, *starved], overload.Window(0.0, 10.0))["small"] == 0.0


@pytest.mark.parametrize("part", sorted(engine.PARTS))
def test_every_part_runs_on_a_tiny_model(part, bench):
    figures = {figure.figure: figure for figure in engine.PARTS[part](bench)}
    assert figures
    assert all(figure.holds is None for figure in figures.values())
    for name in ("mixes_wrong", "overload_lost", "cycled_other_than_peft", "cycled_other_than_before"):
        assert name not in figures or figures[name].value == 0
    if part == "exact":
        assert figures["score_largest_difference"].value < 1e-4
        assert figures["deterministic_identical"].value == figures["deterministic_requests"].value
    if part == "end_to_end":
        assert "quick" in figures["end_to_end_8_adapters_to_vllm_lora"].skipped


def test_the_gpu_part_runs_on_a_tiny_shape(bench, tmp_path):
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 300,
    }
    folder = on_gpu.write(bench.folder, tmp_path / "shape", shape, device="cpu")
    small = {"rows": 3, "count": 2, "rounds": 1, "device": "cpu", "lengths": (8, 12), "new_tokens": 8}
    figures = {figure.figure: figure.value for figure in on_gpu.compare(bench, folder, **small)}
    assert figures["gpu_8b_end_to_end_ours"] > 0
    assert 0 < figures["gpu_8b_floor_share_reached"]


def test_without_a_gpu_the_figure_says_so(bench):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    (figure,) = on_gpu.run(bench)
    assert "no CUDA GPU" in figure.skipped
