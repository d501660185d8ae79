import numpy as np
import pytest

from assistant.routing.evaluate import Evaluation, calibration_error
from assistant.types import Route


def _route(department, chance, *, likeliest=None, unfamiliar=False):
    scores = {likeliest or department: chance, "other": (1 - chance) / 2}
    return Route(department=department, confidence=chance, scores=scores, unfamiliar=unfamiliar)


ROUTED = [
    ("hr", _route("hr", 0.9)),
    ("hr", _route("legal", 0.8)),
    ("hr", _route(None, 0.4, likeliest="hr")),
    ("legal", _route(None, 0.6, likeliest="legal", unfamiliar=True)),
    (None, _route(None, 0.6, likeliest="legal", unfamiliar=True)),
    (None, _route("hr", 0.6)),
]


def test_figures_and_confusion():
    found = Evaluation.of(ROUTED)
    assert (found.questions, found.accuracy, found.routed) == (6, 0.75, 0.25)
    assert (found.unsure, found.false_rejections, found.none_recall) == (0.25, 0.25, 0.5)
    assert found.confusion == {
        "hr": {"hr": 1, "legal": 1, "unsure": 1, "none": 0},
        "legal": {"hr": 0, "legal": 0, "unsure": 0, "none": 1},
        "none": {"hr": 1, "legal": 0, "unsure": 0, "none": 1},
    }
    assert found.calibration_error == pytest.approx((0.1 + 0.8 + 0.6 + 0.4) / 4)


def test_without_questions_there_are_no_figures():
    found = Evaluation.of([])
    assert (found.questions, found.accuracy, found.none_recall, found.confusion) == (0, None, None, {})


def test_calibration_error_is_the_gap_in_each_bin():
    chances = np.array([0.8] * 10 + [1.0] * 5)
    right = np.array([True] * 6 + [False] * 4 + [True] * 5)
    assert calibration_error(chances, right) == pytest.approx(0.2 * 10 / 15)
    assert calibration_error(np.ones(4), np.ones(4, dtype=bool)) == 0
