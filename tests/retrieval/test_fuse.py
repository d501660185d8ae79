import numpy as np
import pytest

from assistant.retrieval.fuse import agreed, convex


def test_found_by_both_beats_found_by_one():
    scores = convex({1: 0.8, 2: 0.8}, {2: 10.0, 3: 10.0})
    assert sorted(scores, key=scores.get, reverse=True)[0] == 2
    assert set(scores) == {1, 2, 3}


def test_nothing_found_is_nothing():
    assert convex({}, {}) == {}


def test_a_candidate_among_good_ones_passes_one_alone():
    vectors = np.eye(8, dtype=np.float32)
    vectors[1:4] = vectors[1]  # three that say the same
    vectors[4:7] = (vectors[4:7] + vectors[0]) / 2**0.5  # three others are near the first, and bad
    scores = {0: 0.50, 1: 0.49, 2: 0.48, 3: 0.48, 4: 0.1, 5: 0.1, 6: 0.1, 7: 0.1}
    mixed = agreed(scores, list(scores), vectors)
    assert max(mixed, key=mixed.get) == 1
    assert all(0.1 <= mixed[id] <= 0.5 for id in scores)


def test_candidates_without_vectors_keep_their_scores():
    scores = {1: 0.5, 2: 0.4, 3: 0.3}
    assert agreed(scores, [], np.zeros((0, 4), dtype=np.float32)) == scores
    assert agreed(scores, [2], np.ones((1, 4), dtype=np.float32)) == scores
    mixed = agreed(scores, [1, 2], np.eye(4, dtype=np.float32)[:2])
    assert mixed == {1: pytest.approx(0.48), 2: pytest.approx(0.42), 3: 0.3}
