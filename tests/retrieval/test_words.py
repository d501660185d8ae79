import pytest

from assistant.retrieval.words import content, stems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Invoice INV-2024-0031 is due", ["invoic", "inv-2024-0031", "is", "due"]),
        ("1,250.50 EUR on 2024-03-01 at 12:30.", ["1,250.50", "eur", "on", "2024-03-01", "at", "12:30"]),
        ("on-call résumé policies", ["on", "call", "resum", "polici"]),
        ("max_retry_count, v2.1!", ["max_retry_count", "v2.1"]),
        ("", []),
    ],
)
def test_words_keep_numbers_whole_and_lose_endings(text, expected):
    assert stems(text) == expected


def test_content_leaves_out_what_carries_none():
    assert content("How many days of leave do I get per year? Leave days!") == ["day", "leav", "year"]


def test_a_question_of_empty_words_keeps_them():
    assert content("What is it?") == ["what", "is", "it"]
