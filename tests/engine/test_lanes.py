import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.lanes import SMALLEST, Lane, Lanes, size_for

LARGEST = 1024


def test_a_lane_is_the_power_of_two_that_holds_its_tokens():
    assert [size_for(n) for n in (1, 64, 65, 128, 129, 1000)] == [64, 64, 128, 128, 256, 1024]


def test_small_lanes_lie_side_by_side():
    lanes = Lanes(4 * LARGEST, LARGEST)
    assert [lanes.take(100) for _ in range(3)] == [Lane(0, 128), Lane(128, 128), Lane(256, 128)]
    assert lanes.take(100).number == 3


def test_what_does_not_fit_is_none_and_changes_nothing():
    lanes = Lanes(LARGEST, LARGEST)
    held = lanes.take(600)
    assert lanes.take(1) is None
    assert lanes.used == LARGEST
    lanes.give_back(held)
    assert lanes.take(LARGEST + 1) is None
    assert lanes.take(LARGEST) == Lane(0, LARGEST)


def test_the_rest_of_an_arena_is_not_used():
    assert Lanes(3 * LARGEST + 100, LARGEST).total == 3 * LARGEST


@given(st.lists(st.one_of(st.integers(1, LARGEST), st.just(0)), max_size=80), st.randoms())
def test_lanes_never_overlap_and_all_room_comes_back(steps, random):
    lanes, held = Lanes(4 * LARGEST, LARGEST), []
    for places in steps:
        if places == 0 and held:
            lanes.give_back(held.pop(random.randrange(len(held))))
        elif places and (lane := lanes.take(places)):
            assert lane.size == size_for(places) and lane.offset % lane.size == 0
            held.append(lane)
        taken = [place for lane in held for place in range(lane.offset, lane.offset + lane.size, SMALLEST)]
        assert len(taken) == len(set(taken)) == lanes.used // SMALLEST
        assert all(0 <= place < lanes.total for place in taken)
    for lane in held:
        lanes.give_back(lane)
    assert lanes.used == 0
    assert [lanes.take(LARGEST) for _ in range(4)] == [Lane(LARGEST * n, LARGEST) for n in range(4)]
    assert lanes.take(1) is None


@pytest.mark.parametrize("places", [1, 63, 64])
def test_the_smallest_lane(places):
    assert Lanes(LARGEST, LARGEST).take(places) == Lane(0, SMALLEST)
