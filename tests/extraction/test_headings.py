"""Headings without markup: what becomes one, and what is none."""

import pytest

from assistant.extraction.extracted import Builder
from assistant.extraction.headings import plain_headings, with_headings
from assistant.extraction.nodes import read_nodes

TEXT = "Every member of the staff gives notice of two months in writing, to the office on the ground floor."


def node(kind, text, *, bold=False, level=None):
    content = {"node_type": kind, "text": text} | ({"level": level} if level else {})
    marks = [{"kind": {"annotation_type": "bold"}, "start": 0, "end": len(text)}] if bold else []
    return {"id": text, "content": content, "page": 1, "annotations": marks}


def headings(*nodes, guessed=True):
    told = with_headings(nodes, guessed=guessed)
    assert [n["content"]["text"] for n in told] == [n["content"]["text"] for n in nodes], "no word is lost"
    return [
        (n["content"]["level"], n["content"]["text"]) for n in told if n["content"]["node_type"] == "heading"
    ]


def test_a_short_bold_line_above_text_is_a_heading_below_the_last_with_markup():
    found = headings(
        node("heading", "Handbook", level=1),
        node("list_item", "Notice", bold=True),
        node("paragraph", TEXT),
        node("paragraph", "Überstunden und Prämien:", bold=True),
        node("list_item", TEXT),
    )
    assert found == [(1, "Handbook"), (2, "Notice"), (2, "Überstunden und Prämien:")]


def test_capitals_stand_below_capitals():
    found = headings(
        node("heading", "SECTION 2: CONDUCT", level=2),
        node("heading", "1. Duties", level=3),
        node("paragraph", "DRESS CODE"),
        node("paragraph", TEXT),
        node("heading", "GIFTS", level=3),
        node("paragraph", TEXT),
        node("list_item", "MAY DAY"),
        node("paragraph", TEXT),
    )
    assert found == [
        (2, "SECTION 2: CONDUCT"),
        (3, "1. Duties"),
        (3, "DRESS CODE"),
        (3, "GIFTS"),
        (3, "MAY DAY"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "S. No.",
        "Last updated: May",
        "[Date]",
        "of the staff",
        "12.4",
        "- first",
        "A sentence that stands alone in bold.",
        "Level\nResponse",
        TEXT[:-1],
    ],
)
def test_what_is_not_certain_stays_text(line):
    assert headings(node("paragraph", line, bold=True), node("paragraph", TEXT)) == []


def test_a_few_capitals_are_no_heading():
    assert headings(node("paragraph", "NTU"), node("paragraph", TEXT)) == []


def test_what_stands_above_no_text_stays_text():
    assert (
        headings(node("paragraph", "Score Limit Approver", bold=True), node("paragraph", "A 100 Head")) == []
    )
    assert headings(node("paragraph", "Notice", bold=True)) == []
    two = (
        node("paragraph", "Notice", bold=True),
        node("paragraph", "Leave", bold=True),
        node("paragraph", TEXT),
    )
    assert headings(*two) == [(1, "Leave")]


@pytest.mark.parametrize("line", ["a.", "12", "include", "(b) data are kept;", "· one", f"{TEXT} {TEXT}"])
def test_what_a_layout_took_for_a_heading_and_is_none(line):
    assert headings(node("heading", line, level=2)) == []
    assert headings(node("heading", line, level=2), guessed=False) == [(2, line)], "the writer's own stays"


def test_numbered_headings_stand_below_the_number_that_begins_theirs():
    lines = ("4. Theory", "4.1 Warehouse", "4.1.2 Keys", "4.2 Stores", "5. Method")
    found = headings(*(node("heading", line, level=2) for line in lines))
    assert [level for level, _ in found] == [2, 3, 4, 3, 2]


def test_headings_of_list_items_keep_their_number():
    nodes = [node("list_item", "MAY DAY"), node("paragraph", TEXT)]
    builder = Builder()
    read_nodes(nodes, builder, pages=[{"page_number": 1, "content": f"5. MAY DAY\r\n{TEXT}"}])
    extracted = builder.build(title="-", media_type="application/pdf")
    assert [(b.kind, extracted.text[b.start : b.end]) for b in extracted.blocks] == [
        ("heading", "5. MAY DAY"),
        ("paragraph", TEXT),
    ]


def test_plain_text():
    paragraphs = [
        "LEAVE POLICY",
        TEXT,
        "2.1 Notice",
        TEXT,
        "Rates\n=====",
        "Gifts\n-----",
        "1. Buy milk",
        "2. Buy eggs.",
    ]
    assert list(plain_headings(paragraphs)) == [
        (1, "LEAVE POLICY"),
        (0, TEXT),
        (3, "2.1 Notice"),
        (0, TEXT),
        (1, "Rates"),
        (2, "Gifts"),
        (0, "1. Buy milk"),
        (0, "2. Buy eggs."),
    ]
    assert list(plain_headings(["Dear all", TEXT, "two\nlines", TEXT])) == [
        (0, "Dear all"),
        (0, TEXT),
        (0, "two\nlines"),
        (0, TEXT),
    ]
