"""Short forms of the soaks under benchmarks/, each in a process of its own: they fork, and must be warm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMPORTS = "import json; from benchmarks import crashes, invisible, permissions"


def told(expression, tmp_path):
    """The value of an expression over `benchmarks`, as a fresh process computes it."""
    code = f"{IMPORTS}; print(json.dumps({expression}))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


SOAK = "[(v := permissions.soak({})[0]).draws, v.passages, v.due, v.forbidden, v.removed, v.missed]"


def test_no_forbidden_passage_comes_back_while_rights_move(tmp_path):
    draws, passages, due, forbidden, removed, missed = told(SOAK.format("240, per_world=120"), tmp_path)
    assert draws == 240 and passages > 240 and due > 10
    assert (forbidden, removed, missed) == (0, 0, 0)


def test_the_oracle_notices_a_leak(tmp_path):
    forbidden = told(SOAK.format("40, per_world=40, leak=True"), tmp_path)[3]
    assert forbidden > 40


@pytest.mark.parametrize(("accident", "count"), [("kill", 4), ("fault", 4), ("full", 2)])
def test_accidents_lose_double_and_damage_nothing(tmp_path, accident, count):
    harm = "[(h := crashes.suffer({!r}, {})).accidents, h.acknowledged, h.lost, h.doubled, h.damaged]"
    accidents, acknowledged, *harm = told(harm.format(accident, count), tmp_path)
    if not accidents:
        pytest.skip("no small disk can be mounted here")
    assert acknowledged > 0 and harm == [0, 0, []]


def test_what_is_taken_away_is_invisible_to_the_next_question_in_every_process(tmp_path):
    seen = told("{way: [s.rounds, s.leaks, s.unseen] for way, s in invisible.measure(1).items()}", tmp_path)
    assert seen == dict.fromkeys(("delete", "relabel", "group", "policy"), [1, 0, 0])
