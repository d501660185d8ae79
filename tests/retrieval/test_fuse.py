from assistant.retrieval.fuse import convex


def test_found_by_both_beats_found_by_one():
    scores = convex({1: 0.8, 2: 0.8}, {2: 10.0, 3: 10.0})
    assert sorted(scores, key=scores.get, reverse=True)[0] == 2
    assert set(scores) == {1, 2, 3}


def test_nothing_found_is_nothing():
    assert convex({}, {}) == {}
