from hypothesis import given
from hypothesis import strategies as st

from assistant.retrieval.fuse import at_most_per, convex


def test_found_by_both_beats_found_by_one():
    scores = convex({1: 0.8, 2: 0.8}, {2: 10.0, 3: 10.0})
    assert sorted(scores, key=scores.get, reverse=True)[0] == 2
    assert set(scores) == {1, 2, 3}


def test_nothing_found_is_nothing():
    assert convex({}, {}) == {}


@given(st.lists(st.integers(0, 4)), st.integers(1, 3))
def test_crowding_keeps_every_item_and_the_order_within(items, most):
    kept = at_most_per(most, list(enumerate(items)), lambda item: item[1])
    assert sorted(kept) == list(enumerate(items))
    for group in set(items):
        own = [item for item in kept if item[1] == group]
        assert own == sorted(own)
        assert all(item in kept[: len(kept)] for item in own[:most])
    front = kept[: sum(min(most, items.count(group)) for group in set(items))]
    assert all(sum(item[1] == group for item in front) <= most for group in set(items))
