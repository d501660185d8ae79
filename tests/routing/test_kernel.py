import numpy as np
import pytest

from assistant.routing import kernel
from assistant.routing.kernel import Kernel


def _sample(count=60, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    vectors = np.eye(3, 16)[labels] + generator.normal(scale=0.15, size=(count, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.eye(3, dtype=np.float32)[labels], labels


def _fit(vectors, targets, shares=None):
    """Fit, and return scores of vectors as a function."""
    shares = np.ones(len(vectors), dtype=np.float32) if shares is None else shares
    chosen = vectors[kernel.landmarks(len(vectors))]
    fitted, left_out = Kernel.fit(vectors @ chosen.T, targets, shares, width=0.15, penalty=0.1)
    return (lambda others: fitted.scores(others @ chosen.T)), left_out


def test_scores_are_near_one_at_home_and_near_zero_far_away():
    vectors, targets, labels = _sample()
    scores, _ = _fit(vectors, targets)
    others, _, expected = _sample(seed=1)
    found = scores(others)
    assert (found.argmax(axis=1) == expected).all()
    assert found.max(axis=1).mean() > 0.7
    assert abs(scores(-vectors)).max() < 0.05


def test_left_out_scores_are_those_of_a_fit_without_the_example():
    vectors, targets, _ = _sample()
    _, left_out = _fit(vectors, targets)
    for row in (0, 7, 31):
        rest = np.arange(len(vectors)) != row
        without, _ = _fit(vectors[rest], targets[rest])
        assert without(vectors[row : row + 1])[0] == pytest.approx(left_out[row], abs=0.01)


def test_a_share_counts_like_as_many_copies():
    vectors, targets, _ = _sample(30)
    doubled, _ = _fit(np.vstack([vectors, vectors[:1]]), np.vstack([targets, targets[:1]]))
    shares = np.ones(30, dtype=np.float32)
    shares[0] = 2
    weighed, _ = _fit(vectors, targets, shares)
    assert weighed(vectors) == pytest.approx(doubled(vectors), abs=0.01)


def test_with_many_examples_some_are_landmarks_and_all_teach(monkeypatch):
    vectors, targets, _ = _sample(300)
    monkeypatch.setattr(kernel, "LANDMARKS", 40)
    chosen = kernel.landmarks(300)
    assert len(chosen) == len(set(chosen)) == 40
    scores, left_out = _fit(vectors, targets)
    others, _, expected = _sample(seed=1)
    assert len(left_out) == 300 and (scores(others).argmax(axis=1) == expected).all()
    fewer, _ = _fit(vectors[chosen], targets[chosen])
    assert not np.allclose(fewer(others), scores(others), atol=0.01)


def test_of_many_examples_some_are_left_out_in_turn(monkeypatch):
    vectors, targets, _ = _sample(300)
    _, every = _fit(vectors, targets)
    monkeypatch.setattr(kernel, "TESTED", 50)
    _, some = _fit(vectors, targets)
    assert some == pytest.approx(every[kernel.tested(300)], abs=1e-4) and len(some) == 50


def test_an_example_given_twice_does_no_harm():
    vectors, targets, labels = _sample(30)
    scores, left_out = _fit(np.vstack([vectors] * 3), np.vstack([targets] * 3))
    assert np.isfinite(left_out).all()
    assert (scores(vectors).argmax(axis=1) == labels).all()
