from __future__ import annotations

LEAVE = "How long is parental leave?"


def test_prints_answer_route_sources_and_receipt(shell):
    shell("ask", LEAVE, "--as", "bjorn")
    assert shell.code == 0
    assert "18 weeks" in shell.out
    assert "Route     hr · adapter hr@" in shell.out
    assert "Sources   [1] Leave (hr/leave.md)" in shell.out
    assert "“Parental leave lasts 18 weeks" in shell.out
    assert "Receipt   ans-" in shell.out


def test_json_is_the_whole_answer(shell):
    answer = shell.json("ask", LEAVE, "--as", "bjorn")
    assert answer["status"] == "answered"
    assert answer["route"]["department"] == "hr"
    assert answer["citations"][0]["uri"] == "hr/leave.md"
    assert answer["receipt"]["id"].startswith("ans-")


def test_same_words_two_people(shell):
    question = "What is the salary band of a senior engineer?"
    assert shell.json("ask", question, "--as", "grete")["status"] == "answered"
    shell("ask", question, "--as", "ana")
    assert shell.code == 0
    assert "61,000" not in shell.out
    assert "Because   enough-evidence" in shell.out


def test_a_department_by_name(shell):
    answer = shell.json("ask", LEAVE, "--as", "ana", "--department", "legal")
    assert answer["route"]["department"] == "legal"


def test_bad_input(shell):
    assert "No user 'nobody'" in shell.fails("ask", LEAVE, "--as", "nobody")
    assert "sales" in shell.fails("ask", LEAVE, "--as", "ana", "--department", "sales")
    assert "empty" in shell.fails("ask", "  ", "--as", "ana")
    assert "characters" in shell.fails("ask", "x" * 1_000_000, "--as", "ana")


def test_route(shell):
    shell("route", LEAVE, "--as", "ana")
    assert shell.out.startswith("hr ")
    found = shell.json("route", LEAVE, "--as", "kim")
    assert found["route"]["department"] == "hr"
    assert found["allowed"]["action"] == "deny"
    assert "empty" in shell.fails("route", " ", "--as", "ana")
