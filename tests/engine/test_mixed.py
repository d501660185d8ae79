import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.engine.mix import Grouped, Sliced, Use, arrange
from assistant.engine.mixed import Active, MixedLinear
from assistant.engine.product import Product, can_pack

SLOTS, INPUTS, OUTS = 8, 24, (16, 8, 8)
RANKS = (2, 4, 4, 8, 2, 4, 8, 1)


def linear(packed=False, dtype=torch.float32):
    torch.manual_seed(0)
    weights = [torch.randn(out, INPUTS, dtype=dtype) for out in OUTS]
    active = Active()
    mixed = MixedLinear(Product(weights, packed=packed), active, SLOTS)
    matrices = []
    for slot, rank in enumerate(RANKS):
        parts = [(torch.randn(rank, INPUTS), torch.randn(out, rank)) for out in OUTS]
        parts[slot % 3] = None if slot % 2 else parts[slot % 3]
        mixed.put(slot, rank, parts)
        matrices.append(parts)
    return mixed, active, weights, matrices


def expected(x, uses, weights, matrices):
    rows = []
    for row, use in zip(x, uses, strict=True):
        parts = []
        for number, weight in enumerate(weights):
            y = weight @ row
            pair = matrices[use.slot][number] if use else None
            parts.append(y if pair is None else y + pair[1] @ (pair[0] @ row))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def close(got, want):
    """Each number as near as its dtype rounds sums of this size; another adapter's is 10 away."""
    coarse = got.dtype == torch.bfloat16
    torch.testing.assert_close(
        got.float(), want, atol=0.4 if coarse else 1e-5, rtol=0.03 if coarse else 1.3e-6
    )


uses = st.lists(st.one_of(st.none(), st.integers(0, SLOTS - 1)), min_size=1, max_size=40).map(
    lambda slots: [None if slot is None else Use(slot, RANKS[slot]) for slot in slots]
)


@settings(max_examples=150, deadline=None)
@given(uses, st.sampled_from([torch.float32, torch.bfloat16]))
def test_every_row_gets_its_own_adapter(given_uses, dtype):
    mixed, active, weights, matrices = linear(dtype=dtype)
    arrangement = arrange(given_uses)
    assert sorted(arrangement.order) == list(range(len(given_uses)))
    x = torch.randn(len(given_uses), INPUTS, dtype=dtype)[list(arrangement.order)]
    active.mix = arrangement.mix
    ordered = [given_uses[row] for row in arrangement.order]
    close(mixed(x), expected(x.float(), ordered, [weight.float() for weight in weights], matrices))


@pytest.mark.parametrize("rows", [1, 5, 32, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("packed", [False, True])
def test_an_adapter_alone_gives_the_same_in_every_form(rows, dtype, packed):
    if packed and not can_pack(dtype):
        pytest.skip("this build packs no such weights")
    mixed, active, weights, matrices = linear(packed, dtype)
    x = torch.randn(rows, INPUTS, dtype=dtype)
    for slot in (2, 5):
        active.mix = (Sliced(0, rows, slot, RANKS[slot]),)
        want = expected(x.float(), [Use(slot, RANKS[slot])] * rows, [w.float() for w in weights], matrices)
        close(mixed(x), want)
    mixed.put(2, 9, matrices[5])  # another adapter, in wider stacks
    active.mix = (Sliced(0, rows, 2, 9),)
    close(mixed(x), want)


@pytest.mark.skipif(not can_pack(torch.float32), reason="this build packs no weights")
def test_packed_weights_give_the_same():
    x = torch.randn(5, INPUTS)
    plain, packed = linear()[0], linear(packed=True)[0]
    torch.testing.assert_close(packed(x), plain(x))
    assert packed(x[:0]).shape == (0, sum(OUTS))


def test_even_groups_need_no_gathering():
    mix = arrange([Use(slot, 4) for slot in range(4) for _ in range(4)]).mix
    assert mix == (Grouped(0, 16, 0, 4, 4),)


def test_one_adapter_is_a_slice():
    assert arrange([Use(3, 4)] * 6 + [None]).mix == (Sliced(0, 6, 3, 4),)


def test_a_large_group_is_sliced_and_small_ones_grouped():
    mix = arrange([Use(0, 4)] * 30 + [Use(slot, 4) for slot in (1, 2, 3)]).mix
    assert mix[0] == Sliced(0, 30, 0, 4)
    assert isinstance(mix[1], Grouped) and (mix[1].first, mix[1].last, mix[1].height) == (1, 4, 1)


def test_far_slots_are_sliced_rather_than_grouped_over_all_between():
    mix = arrange([Use(0, 4)] * 8 + [Use(7, 4)] * 8).mix
    assert {type(part) for part in mix} == {Sliced}


def test_no_adapters_no_mix():
    assert arrange([None, None]).mix == ()
    assert arrange([]).order == ()


def test_a_cleared_slot_adds_nothing_and_may_be_taken_again():
    mixed, active, weights, matrices = linear()
    x = torch.randn(3, INPUTS)
    active.mix = (Sliced(0, 3, 1, 4),)
    mixed.clear(1)
    torch.testing.assert_close(mixed(x), x @ torch.cat(weights).T)
    pair = (torch.randn(2, INPUTS), torch.randn(OUTS[0], 2))
    mixed.put(1, 2, [pair, None, None])
    got = mixed(x)
    torch.testing.assert_close(got[:, : OUTS[0]], x @ weights[0].T + x @ pair[0].T @ pair[1].T)
    torch.testing.assert_close(got[:, OUTS[0] :], x @ torch.cat(weights[1:]).T)


def test_a_larger_rank_finds_room_and_the_others_stay():
    mixed, active, weights, matrices = linear()
    pairs = [(torch.randn(11, INPUTS), torch.randn(out, 11)) for out in OUTS]
    mixed.put(7, 11, pairs)
    matrices[7] = pairs
    given_uses = [Use(7, 11), Use(6, 8), Use(0, 2), None]
    arrangement = arrange(given_uses)
    active.mix = arrangement.mix
    x = torch.randn(4, INPUTS)
    order = list(arrangement.order)
    want = expected(x[order], [given_uses[row] for row in order], weights, matrices)
    torch.testing.assert_close(mixed(x[order]), want)
