"""Chunks: exact spans, along the structure, within the budget."""

from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.extraction.extracted import Builder
from assistant.retrieval.chunk import chunk
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
        assert count(piece.text) <= max_tokens + sum(count(text) for text in _headings(extracted))
