import json
from dataclasses import dataclass

import pytest

from assistant.errors import ConfigError
from assistant.routing.examples import Examples, read_reviewed


@dataclass
class Department:
    """What the router needs of a department's configuration."""

    examples: tuple[str, ...]
    description: str = "About it."


DEPARTMENTS = {"hr": Department(("leave?",)), "legal": Department(("contract?",))}


def _write(folder, *lines, name="hr"):
    file = folder / name / "questions.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return file


def test_reviewed_questions_join_the_examples(tmp_path):
    _write(
        tmp_path,
        {"question": "sick?", "reviewed_by": "grete"},
        "",
        {"question": "an NDA?", "department": "legal"},
        {"question": "the weather?", "department": None},
    )
    examples = Examples.read(tmp_path, DEPARTMENTS)
    assert examples.questions == {"hr": ["leave?", "sick?"], "legal": ["contract?", "an NDA?"]}
    assert examples.none == ["the weather?"]
    assert examples.descriptions == {"hr": "About it.", "legal": "About it."}


def test_without_reviewed_questions_the_departments_own_are_taken(tmp_path):
    assert Examples.read(tmp_path, DEPARTMENTS).questions == {"hr": ("leave?",), "legal": ("contract?",)}
    with pytest.raises(ConfigError, match=r"No departments.*adapter\.yaml"):
        Examples.read(tmp_path, {})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2"),
        ("[" * 100_000, "line 2: not JSON"),
        ({"question": ""}, "line 2: question"),
        ({"department": "hr"}, "line 2: question"),
        ({"question": "tax?", "department": "tax"}, "no department `tax`.*hr, legal"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, words):
    file = _write(tmp_path, {"question": "sick?"}, line)
    with pytest.raises(ConfigError, match=f"(?s){file.name} {words}|{words}"):
        read_reviewed(file, ("hr", "legal"), "hr")


def test_a_file_of_its_own_names_each_department(tmp_path):
    rows = [
        {"question": "sick?", "department": "hr", "as": "ana", "id": 7},
        {"question": "?", "department": None},
    ]
    found = read_reviewed(_write(tmp_path, *rows), ("hr",))
    assert [(each.question, each.department, each.asker) for each in found] == [
        ("sick?", "hr", "ana"),
        ("?", None, None),
    ]
    with pytest.raises(ConfigError, match="department"):
        read_reviewed(_write(tmp_path, {"question": "sick?"}), ("hr",))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_reviewed(tmp_path / "missing.jsonl", ("hr",))
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "\xe9"}')
    with pytest.raises(ConfigError, match="UTF-8"):
        read_reviewed(tmp_path / "latin.jsonl", ("hr",))
