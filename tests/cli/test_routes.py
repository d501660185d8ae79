import json

LEAVE = "How long is parental leave?"


def test_the_route_is_explained(shell):
    shell("route", LEAVE, "--as", "ana")
    assert "like the examples of hr" in shell.out and "own department" in shell.out
    assert f"1.00  hr             {LEAVE}" in shell.out
    found = shell.json("route", LEAVE, "--as", "ana")
    assert found["outcome"] == "department"
    assert found["nearest"][0] == {"text": LEAVE, "department": "hr", "cosine": found["nearest"][0]["cosine"]}


def test_a_route_depends_on_the_conversation(shell):
    follow_up = ("route", "And how many days would it be?", "--as", "kim")
    alone = shell.json(*follow_up)["route"]["scores"]
    for earlier, department in (("Who signs a contract?", "legal"), ("Is the gateway up?", "engineering")):
        after = shell.json(*follow_up, "--after", earlier)["route"]["scores"]
        assert after[department] > alone[department]


def test_a_question_of_none_says_so(shell):
    shell("route", "zebras giraffes elephants", "--as", "kim")
    assert shell.out.startswith("none of our departments: the base model")
    assert shell.json("route", "zebras giraffes elephants", "--as", "kim")["outcome"] == "none"


def test_routes_are_evaluated_on_the_examples(shell):
    shell("routes", "evaluate")
    assert shell.code == 0
    assert "9 questions" in shell.out and "calibration error, 15 bins" in shell.out
    assert "belongs to" in shell.out
    found = shell.json("routes", "evaluate")
    assert set(found["confusion"]) == {"hr", "legal", "engineering"}
    assert found["none_recall"] is None


def test_routes_are_evaluated_on_a_file(shell):
    file = shell.folder / "asked.jsonl"
    rows = [
        {"question": "How long is parental leave for me?", "department": "hr"},
        {"question": "Who signs the contract?", "department": "legal", "as": "dmitri"},
        {"question": "zebras giraffes elephants", "department": None},
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    found = shell.json("routes", "evaluate", str(file))
    assert (found["questions"], found["accuracy"], found["none_recall"]) == (3, 1.0, 1.0)
    assert found["confusion"]["none"]["none"] == 1


def test_a_wrong_file_is_named(shell):
    file = shell.folder / "asked.jsonl"
    file.write_text('{"question": "tax?", "department": "tax"}')
    assert "no department `tax`" in shell.fails("routes", "evaluate", str(file))
    assert "cannot be read" in shell.fails("routes", "evaluate", "missing.jsonl")
    file.write_text('{"question": "tax?", "department": "hr", "as": "nobody"}')
    assert "nobody" in shell.fails("routes", "evaluate", str(file))


def test_reviewed_questions_teach(shell):
    before = shell.json("route", "zebras giraffes elephants", "--as", "kim")
    file = shell.folder / "adapters" / "legal" / "questions.jsonl"
    file.write_text('{"question": "zebras and giraffes"}\n{"question": "elephants and giraffes"}\n')
    after = shell.json("route", "zebras giraffes elephants", "--as", "kim")
    assert before["route"]["department"] is None
    assert after["route"]["department"] == "legal"
    file.write_text("{")
    assert "questions.jsonl line 1" in shell.fails("route", LEAVE, "--as", "kim")


def test_the_base_model_answers_what_no_department_would(shell):
    answer = shell.json("ask", "zebras giraffes elephants", "--as", "ana")
    assert answer["route"]["department"] is answer["route"]["adapter"] is None
    assert answer["route"]["reason"].startswith("none of our departments")
    entry = shell.json("audit", "show", answer["receipt"]["id"])
    assert "none of our departments" in json.dumps(entry)
