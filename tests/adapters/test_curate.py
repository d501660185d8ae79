import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.adapters.curate import near_duplicate_share, read
from assistant.errors import ConfigError

GOOD = {
    "question": "How long?",
    "passages": [{"title": "Leave", "text": "18 weeks."}],
    "answer": "18 weeks [1].",
}


def write(folder, *lines):
    file = folder / "train.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return file


def test_reads_examples_and_names_the_file_by_digest(tmp_path):
    data = read(write(tmp_path, GOOD, "", {**GOOD, "question": "Who signs?"}))
    assert [example.question for example in data.examples] == ["How long?", "Who signs?"]
    assert len(data.digest) == 64
    assert read(write(tmp_path, GOOD)).digest != data.digest


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", "line 2: not valid JSON"),
        ({**GOOD, "answer": "18 weeks [2]."}, r"cites \[2\] of 1 passages"),
        ({**GOOD, "extra": 1}, "`extra`"),
        ({**GOOD, "passages": []}, "`passages`"),
        ({**GOOD, "question": ""}, "`question`"),
        ("[1, 2]", "line 2:"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    with pytest.raises(ConfigError, match=said):
        read(write(tmp_path, GOOD, line))


def test_missing_empty_and_binary_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="holds no examples"):
        read(write(tmp_path, ""))
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "binary.jsonl")


def test_near_duplicates_are_counted_once_each():
    text = "the review of a contract takes three days when the head of legal is in the office"
    other = "a probe that stays silent for an hour is replaced without a fee by the support team"
    assert near_duplicate_share([text, other]) == 0
    assert near_duplicate_share([text, text.replace("office", "building"), other, other]) == 0.5


@given(st.lists(st.text(max_size=40), max_size=8))
def test_the_share_is_a_share(texts):
    assert 0 <= near_duplicate_share(texts) <= 1
