"""Chunks: exact spans, along the structure, within the budget."""

from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.extraction.extracted import Builder
from assistant.retrieval.chunk import chunk, shortened
from assistant.store.records import title_path
from assistant.testing.embedder import FakeEmbedder

count = FakeEmbedder().count_tokens


def build(*blocks):
    builder = Builder()
    for kind, text, *rest in blocks:
        builder.add(kind, text, level=rest[0] if rest else 0, page=rest[1] if len(rest) > 1 else None)
    return builder.build(title="T", media_type="text/markdown")


def words(number, word="word"):
    return " ".join([word] * number)


def test_a_chunk_stays_within_its_section():
    extracted = build(
        ("heading", "Leave", 1),
        ("heading", "Parental", 2),
        ("paragraph", words(30)),
        ("paragraph", words(20)),
        ("heading", "Sick", 2),
        ("paragraph", words(40), 0, 2),
    )
    first, second = chunk(extracted, max_tokens=60, count=count)
    assert first.headings == ("Leave", "Parental") and count(first.text) == 50
    assert second.headings == ("Leave", "Sick") and second.page == 2
    assert "Parental" not in first.text


def test_small_sections_are_joined_under_their_parent():
    extracted = build(
        ("heading", "Tools", 1),
        ("heading", "Chat", 2),
        ("paragraph", "For talking."),
        ("heading", "Mail", 2),
        ("paragraph", "For writing."),
    )
    (only,) = chunk(extracted, max_tokens=100, count=count)
    assert only.headings == ("Tools",)
    assert only.text == "Chat\n\nFor talking.\n\nMail\n\nFor writing."


def test_the_rest_of_a_section_does_not_lose_its_heading():
    extracted = build(
        ("heading", "Cars", 1),
        ("paragraph", words(58)),
        ("paragraph", words(5)),
        ("heading", "Boats", 1),
        ("paragraph", words(20)),
    )
    found = [(piece.headings, count(piece.text)) for piece in chunk(extracted, max_tokens=60, count=count)]
    assert found == [(("Cars",), 58), (("Cars",), 5), (("Boats",), 20)]


def test_tables_are_cut_between_rows_only():
    rows = [f"Country: C{number} | Rate: {number}" for number in range(40)]
    extracted = build(("heading", "Rates", 1), ("table", "\n".join(rows)))
    pieces = chunk(extracted, max_tokens=40, count=count)
    assert len(pieces) > 5
    assert [line for piece in pieces for line in piece.text.split("\n")] == rows


def test_a_row_that_is_too_long_stays_whole():
    row = "A: " + words(200)
    pieces = chunk(build(("table", f"A: x\n{row}\nA: y")), max_tokens=40, count=count)
    assert row in [piece.text for piece in pieces]


def test_what_a_line_announces_stays_with_it():
    items = "\n".join(f"- {words(8)}" for _ in range(3))
    extracted = build(("paragraph", words(40)), ("paragraph", "Bring:"), ("list", items))
    first, second = chunk(extracted, max_tokens=50, count=count)
    assert first.text == words(40) and second.text == f"Bring:\n\n{items}"


def test_long_paragraphs_are_cut_between_sentences():
    sentences = [f"Sentence {number} says {words(8)}." for number in range(10)]
    pieces = chunk(build(("paragraph", " ".join(sentences))), max_tokens=40, count=count)
    assert all(piece.text.endswith(".") and piece.text.startswith("Sentence") for piece in pieces)


def test_a_heading_with_nothing_below_is_not_lost():
    (only,) = chunk(build(("heading", "Only", 1)), max_tokens=40, count=count)
    assert (only.text, only.headings) == ("Only", ())


KINDS = st.sampled_from(["heading", "paragraph", "list", "table", "code"])
TEXTS = st.text(st.sampled_from("ab .:\n|é😀-"), max_size=300) | st.text(max_size=60)
BLOCKS = st.lists(st.tuples(KINDS, TEXTS, st.integers(1, 3)), max_size=15)


@given(blocks=BLOCKS, max_tokens=st.integers(4, 40))
@settings(max_examples=150, deadline=None)
def test_every_chunk_is_a_span_and_no_word_is_lost(blocks, max_tokens):
    extracted = build(*blocks)
    pieces = chunk(extracted, max_tokens=max_tokens, count=count)
    at = 0
    for ordinal, piece in enumerate(pieces):
        assert piece.ordinal == ordinal
        assert piece.text == extracted.text[piece.start : piece.end] != ""
        between = extracted.text[at : piece.start].strip()
        assert all(line.strip() in _headings(extracted) for line in between.split("\n\n") if line)
        assert piece.start >= at, "chunks do not overlap"
        at = piece.end
    assert not extracted.text[at:].strip()


def _headings(extracted):
    return (
        {extracted.text[b.start : b.end].strip() for b in extracted.blocks if b.kind == "heading"}
        | {""}
        | {
            part.strip()
            for b in extracted.blocks
            if b.kind == "heading"
            for part in extracted.text[b.start : b.end].split("\n\n")
        }
    )


@given(blocks=BLOCKS, max_tokens=st.integers(4, 40))
@settings(max_examples=100, deadline=None)
def test_only_a_table_row_is_larger_than_the_budget(blocks, max_tokens):
    extracted = build(*[block for block in blocks if block[0] != "table"])
    for piece in chunk(extracted, max_tokens=max_tokens, count=count):
        assert count(piece.text) <= max_tokens


NASTY = st.one_of(
    TEXTS,
    st.integers(1, 400).map(lambda number: words(number)),
    st.integers(1, 3000).map(lambda number: "x" * number),
    st.integers(1, 300).map(lambda number: "第五条规定员工请假。" * (number // 10) + "期" * (number % 10)),
    st.integers(1, 60).map(lambda number: " | ".join(f"Column {n}: {n}" for n in range(number))),
    st.integers(1, 60).map(lambda number: "\n".join(f"A: {n} | B: {words(n)}" for n in range(number))),
)
COUNTS = {  # of words, of characters as for Chinese, of bytes as byte pairs without any merge
    "words": count,
    "characters": len,
    "bytes": lambda text: len(text.encode()),
}


def embedded(title, piece):
    return f"{title_path(title, piece.headings)}\n{piece.text}"


@given(
    blocks=st.lists(st.tuples(KINDS, NASTY, st.integers(1, 6)), max_size=12),
    title=NASTY,
    longest=st.integers(32, 128),
    tokens=st.sampled_from(sorted(COUNTS)),
)
@settings(max_examples=200, deadline=None)
def test_title_path_and_chunk_are_never_longer_than_the_embedder_takes(blocks, title, longest, tokens):
    extracted = build(*blocks)
    kept = shortened(title, longest // 4, COUNTS[tokens])
    pieces = chunk(extracted, max_tokens=90, count=COUNTS[tokens], title=kept, longest=longest)
    at = 0
    for piece in pieces:
        assert COUNTS[tokens](embedded(kept, piece)) <= longest
        assert piece.text == extracted.text[piece.start : piece.end] != ""
        between = extracted.text[at : piece.start].strip()
        assert all(line.strip() in _headings(extracted) for line in between.split("\n\n") if line)
        at = piece.end
    assert not extracted.text[at:].strip()


def test_a_row_too_long_for_the_embedder_is_cut_between_its_cells():
    row = " | ".join(f"Column {number}: {words(6)}" for number in range(12))
    pieces = chunk(build(("table", f"A: x\n{row}\nA: y")), max_tokens=40, count=count, title="T", longest=64)
    assert all(piece.text.startswith(("A:", "Column")) for piece in pieces)
    assert " ".join(piece.text for piece in pieces) == f"A: x {row} A: y"


def test_a_heading_too_long_for_a_title_path_is_text_that_can_be_found():
    long = words(40)
    extracted = build(("heading", "Leave", 1), ("heading", long, 2), ("paragraph", "Ask your lead."))
    pieces = chunk(extracted, max_tokens=50, count=count, longest=64)
    assert [(piece.text, piece.headings) for piece in pieces] == [(f"{long}\n\nAsk your lead.", ("Leave",))]


def test_a_path_too_deep_keeps_the_nearest_headings():
    depths = [("heading", words(8, name), level) for level, name in enumerate("abcdef", 1)]
    (only,) = chunk(build(*depths, ("paragraph", "Text.")), max_tokens=50, count=count, title="T", longest=64)
    assert only.headings == (words(8, "d"), words(8, "e"), words(8, "f"))


def test_a_word_of_any_length_is_cut():
    pieces = chunk(build(("paragraph", "x" * 10_000)), max_tokens=20, count=count)
    assert "".join(piece.text for piece in pieces) == "x" * 10_000
    assert max(len(piece.text) for piece in pieces) <= 320


def test_chinese_is_cut_between_sentences():
    text = "员工每年有二十五天的假期。" * 8 + "“可以。”他说。"
    pieces = chunk(build(("paragraph", text)), max_tokens=30, count=len)
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text.endswith(("。", "”")) for piece in pieces)


def test_a_chunk_is_on_the_page_where_it_begins():
    parts = [("paragraph", f"{name} " + words(30), 0, page) for page, name in enumerate("ab", 1)]
    pieces = chunk(build(*parts), max_tokens=31, count=count)
    assert [piece.page for piece in pieces] == [1, 2]


def test_a_title_too_long_ends_in_an_ellipsis():
    assert shortened("Leave and holidays", 3, count) == "Leave and holidays"
    assert shortened("Leave and holidays of all", 4, count) == "Leave and holidays…"
    assert shortened("假" * 50, 10, len) == "假" * 9 + "…"
