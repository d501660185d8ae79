"""Editions are told by dates and versions in names, and by nothing else that looks like a number."""

import pytest

from assistant.editions import asked_for, edition, later


def number(uri, dated=None):
    told = edition(uri, "Policy", dated)
    return told and told.number


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("policy-2024.pdf", "2024"),
        ("policy_2024-05.pdf", "2024-05"),
        ("policy 20240517.pdf", "2024-05-17"),
        ("policy-17.05.2024.pdf", "2024-05-17"),
        ("2023 policy.pdf", "2023"),
        ("plan-2020-2030.pdf", "2030"),
        ("policy-v2.pdf", "000002"),
        ("policy (Rev. 3.10).pdf", "000003.000010"),
        ("policy.pdf", None),
        ("chapter-2.pdf", None),
        ("room-12024.pdf", None),
        ("policy-1850.pdf", None),
        ("v2ray.pdf", None),
    ],
)
def test_the_number_of_a_name(name, expected):
    assert number(f"hr/{name}") == expected


def test_the_date_of_a_document_counts_where_its_name_has_none():
    assert number("policy.pdf", "2022-03-01") == "2022-03-01"
    assert number("policy-2024.pdf", "2022-03-01") == "2024"
    assert number("policy-v2.pdf", "2022-03-01") == "000002"
    assert number("policy.pdf", "last spring") is None


def series(uri, title="Travel policy", dated=None):
    return edition(uri, title, dated).series


def test_same_series_means_same_folder_name_title_and_extension():
    own = series("hr/travel-2023.pdf", "Travel policy 2023")
    assert (
        own
        == series("hr/travel_2024-05.pdf", "Travel Policy — 2024")
        == series("hr/travel.pdf", dated="2022-01-01")
    )
    for uri, title in (
        ("it/travel-2024.pdf", "Travel policy"),
        ("hr/travel-2024.docx", "Travel policy"),
        ("hr/travels-2024.pdf", "Travel policy"),
        ("hr/travel-2024.pdf", "Travel policy of Norway"),
        ("hr/travel-v2.pdf", "Travel policy"),
    ):
        assert series(uri, title) != own


def test_later_is_surely_later():
    assert later("2024", "2023") and later("2024-01", "2023-12-31") and later("000002.000001", "000002")
    assert not later("2023", "2024") and not later("2024", "2024")
    assert not later("2024-05", "2024")  # 2024 may have been its December
    assert later("000010", "000009")


def test_a_question_asks_for_an_edition_by_its_year():
    assert asked_for("2023-05-01", "What did the policy of 2023 say?")
    assert not asked_for("2023-05-01", "What does the policy say about 20231 miles?")
    assert not asked_for("000002", "version 2?")
