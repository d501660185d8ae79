from __future__ import annotations

LEAVE = "How long is parental leave?"


def test_shows_passages_with_scores_and_reasons(shell):
    shell("search", LEAVE, "--as", "bjorn")
    assert shell.code == 0
    first = shell.out.split("2. ")[0]
    assert "hr/leave.md" in first and "18 weeks" in first
    assert "meaning #" in first and "words #1" in first and "parental" in first


def test_json_is_in_the_order_of_the_scores(shell):
    found = shell.json("search", LEAVE, "--as", "bjorn", "--limit", "3")
    assert found["question"] == LEAVE and found["spelled"] == {}
    assert found["passages"][0]["uri"] == "hr/leave.md"
    scores = [passage["score"] for passage in found["passages"]]
    assert 1 <= len(scores) <= 3 and scores == sorted(scores, reverse=True)
    assert all(passage["reason"] for passage in found["passages"])


def test_nobody_is_shown_what_they_may_not_read(shell):
    question = "What is the salary band of a senior engineer?"
    assert "bands" in str(shell.json("search", question, "--as", "grete")["passages"][0]["uri"])
    assert "bands" not in str(shell.json("search", question, "--as", "ana"))
    assert "61,000" not in shell.out


def test_bad_input(shell):
    assert "No user 'nobody'" in shell.fails("search", LEAVE, "--as", "nobody")
    assert "empty" in shell.fails("search", " ", "--as", "ana")
    assert "--limit" in shell.fails("search", LEAVE, "--as", "ana", "--limit", "0")
