from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.pace import Pace


def measured(token_s=0.01, pause_s=1.0):
    pace = Pace(pause_s)
    pace.ran(200 * token_s, decoding=0, prompt_tokens=200)
    return pace


def test_with_nobody_to_keep_waiting_prompts_run_at_full_speed():
    assert Pace(0.001).budget(0, 0) == measured().budget(0, 50) == 512


def test_a_pause_is_as_long_as_allowed():
    assert measured(0.01, 1.0).budget(10, 0) == 100
    assert measured(0.01, 2.0).budget(10, 0) == 200


def test_the_more_wait_for_each_that_runs_the_longer():
    pace = measured(0.01, 1.0)
    assert [pace.budget(10, waiting) for waiting in (0, 5, 10, 20)] == [100, 150, 200, 300]


def test_a_step_without_a_prompt_teaches_nothing_about_prompts():
    pace = measured(0.01)
    pace.ran(100.0, decoding=32, prompt_tokens=0)
    assert pace.budget(10, 0) == 100


def test_rows_that_decode_in_the_same_step_are_not_taken_for_a_slow_prompt():
    pace = measured(0.01)
    for _ in range(50):
        pace.ran(0.01 * (100 + 32), decoding=32, prompt_tokens=100)
    assert 95 <= pace.budget(10, 0) <= 100


@given(st.integers(1, 9000), st.integers(1, 600))
def test_pieces_are_alike_and_make_up_the_whole(length, budget):
    pace, left, pieces = Pace(1.0), length, []
    while left:
        pieces.append(pace.piece(left, budget))
        assert 0 < pieces[-1] <= left
        left -= pieces[-1]
    assert max(pieces) <= 1.5 * budget + 1
    assert len(pieces) <= 2 * length / budget + 1
