from __future__ import annotations

import pytest

from benchmarks.sides.base import Record, spread


def test_readings_of_two_calls():
    record = Record(stamps=((1.0, 2.0, 3.0, 4.0), (2.5, 3.0, 4.5)))
    assert record.first_s == 2.5
    assert record.seconds == 4.5
    assert record.tokens_per_s == pytest.approx(7 / 4.5)


def test_steps_count_only_while_all_decode():
    early, late = (1.0, 1.1, 3.0, 4.0, 5.0), (2.0, 3.0, 4.0, 9.0)
    record = Record(stamps=(early, late))
    assert sorted(record.steps_s) == [1.0, 1.0, 1.0, 1.0]  # not the 0.1 before, not the 5.0 after
    assert record.step_s == 1.0


def test_calls_that_never_decode_together_have_no_step():
    with pytest.raises(ValueError, match="never decoded all at once"):
        _ = Record(stamps=((1.0, 2.0), (3.0, 4.0))).step_s


def test_tokens_of_one_piece_are_spread():
    assert list(spread(2, 1.0, 2.0)) == [1.5, 2.0]
    assert list(spread(1, 1.0, 2.0)) == [2.0]
    assert list(spread(0, 1.0, 2.0)) == []
