"""Markdown as blocks, with nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.extraction.extracted import Builder
from assistant.extraction.inline import plain
from assistant.extraction.markdown import read_markdown


def read(text):
    builder = Builder()
    read_markdown(text, builder)
    return builder.build(title="-", media_type="text/markdown")


def blocks(text):
    extracted = read(text)
    return [(block.kind, extracted.text[block.start : block.end]) for block in extracted.blocks]


def test_front_matter_is_read_and_kept():
    extracted = read(
        "---\ntitle: Leave\ndate: 2026-01-01\nowner: People\nsupersedes: old.md\nlang: en\n"
        "tags: [a, b]\n---\n# Leave\n\nText."
    )
    assert (extracted.title, extracted.dated, extracted.supersedes, extracted.language) == (
        "Leave",
        "2026-01-01",
        "old.md",
        "en",
    )
    assert extracted.text == "Date: 2026-01-01 | Owner: People | Tags: a, b\n\nLeave\n\nText."


@pytest.mark.parametrize(
    "text", ["---\nnot: [closed\n---\nText.", "---\njust words\n---\nText.", "---\nopen\nText."]
)
def test_what_is_no_front_matter_stays_text(text):
    assert "Text." in read(text).text
    assert {"words", "closed", "open"} & set(read(text).text.replace("[", " ").split())


def test_headings_of_both_kinds():
    assert blocks("# One #\n\nTwo\nlines\n===\nThree\n---\ntext") == [
        ("heading", "One"),
        ("heading", "Two lines"),
        ("heading", "Three"),
        ("paragraph", "text"),
    ]


def test_lists_keep_every_item_and_its_depth():
    text = "- one\n- two\n  - deep **x**\n  - deep2\n\n- three\n  goes on\n\n  and on\n1. first\n2. second"
    assert blocks(text) == [
        ("list", "- one\n- two\n  - deep x\n  - deep2\n- three goes on and on\n1. first\n2. second")
    ]


def test_a_list_may_follow_a_paragraph_at_once():
    assert blocks("Choose:\n- a\n- b\nand so on\n\nEnd.") == [
        ("paragraph", "Choose:"),
        ("list", "- a\n- b and so on"),
        ("paragraph", "End."),
    ]


def test_a_line_that_begins_with_a_year_is_no_list():
    assert blocks("It was founded in\n2014. It grew.") == [("paragraph", "It was founded in 2014. It grew.")]


def test_table_rows_name_their_columns():
    text = "| Country | Days | Note |\n|:--|--:|---|\n| Norway | 92 | a \\| `b` |\n| UK | | x |\nafter"
    assert blocks(text) == [
        ("table", "Country: Norway | Days: 92 | Note: a | `b`\nCountry: UK | Note: x"),
        ("paragraph", "after"),
    ]


def test_code_is_kept_as_it_stands():
    fenced = "```python\ndef f():\n    return '# no heading'\n\n- x\n```"
    text = f"Run:\n\n{fenced}\n\n    indented\n      more\n\n~~~\nopen to the end"
    assert blocks(text) == [
        ("paragraph", "Run:"),
        ("code", "def f():\n    return '# no heading'\n\n- x"),
        ("code", "indented\n  more"),
        ("code", "open to the end"),
    ]


def test_a_fence_inside_a_list_item():
    assert blocks("1. Do:\n   ```sh\n   make\n   ```\n2. Then") == [
        ("list", "1. Do:"),
        ("code", "make"),
        ("list", "2. Then"),
    ]


def test_quotes_rules_and_comments():
    assert blocks("> quoted\n> text\n\n***\n<!-- a\ncomment -->\nafter <!-- b -->it\n\n<!-- open") == [
        ("paragraph", "quoted text"),
        ("paragraph", "after it"),
        ("paragraph", "<!-- open"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**bold** and *it* and __b__ and _i_ ~~s~~", "bold and it and b and i s"),
        ("**Use `x_y` now**", "Use `x_y` now"),
        ("`**kept**` snake_case_name 2*3*4", "`**kept**` snake_case_name 2*3*4"),
        ("[words](https://a.example/x) [file](b.md) ![alt](c.png)", "words (https://a.example/x) file alt"),
        ("[https://a.example](https://a.example) <https://b.example>", "https://a.example https://b.example"),
        ("[us](mailto:a@b.example)", "us (a@b.example)"),
        (r"\*no\* a\_b &lt;5 &amp; 6", "*no* a_b <5 & 6"),
        ("line<br>break <b>x</b> <id> a < b > c", "line break x <id> a < b > c"),
    ],
)
def test_inline_marks(text, expected):
    assert plain(text) == expected


WORDS = st.lists(st.text("abcdefghij", min_size=3, max_size=8), min_size=1, max_size=12)
LINES = st.sampled_from(
    ["{}", "# {}", "- {}", "  - {}", "1. {}", "> {}", "    {}", "| {} | x |", "```", "", "**{}**"]
)


@given(words=WORDS, shapes=st.lists(LINES, min_size=12, max_size=12))
def test_no_word_is_lost(words, shapes):
    text = read("\n".join(shape.format(word) for word, shape in zip(words, shapes, strict=False))).text
    fenced = "```" in shapes[: len(words)]
    for word, shape in zip(words, shapes, strict=False):
        assert "{}" not in shape or fenced or word in text
