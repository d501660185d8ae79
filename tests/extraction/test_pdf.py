"""Lossy pages and false tables of PDFs."""

from assistant.extraction.extracted import Builder
from assistant.extraction.nodes import read_nodes
from assistant.extraction.pdf import complete, is_prose
from assistant.extraction.pdflines import Mender, rejoined


def node(kind, text, page, **more):
    return {"id": text, "content": {"node_type": kind, "text": text, **more}, "page": page}


LINES = (
    "Notice\r\nEvery member of the staff gives notice of two months in writing to the office on the\r\n"
    "ground floor.\r\nForm N-1 is used."
)


def test_a_page_that_lost_words_is_read_from_its_lines():
    nodes = [node("heading", "Notice", 1, level=1), node("paragraph", "Whole page.", 2)]
    pages = [{"page_number": 1, "content": LINES}, {"page_number": 2, "content": "Whole page."}]
    builder = Builder()
    read_nodes(nodes, builder, pages=pages)
    extracted = builder.build(title="-", media_type="application/pdf")
    assert [(b.kind, extracted.text[b.start : b.end], b.page) for b in extracted.blocks] == [
        ("heading", "Notice", 1),
        (
            "paragraph",
            "Every member of the staff gives notice of two months in writing to the office on the ground "
            "floor.",
            1,
        ),
        ("paragraph", "Form N-1 is used.", 1),
        ("paragraph", "Whole page.", 2),
    ]


def test_whole_pages_are_left_as_they_are():
    nodes = [node("paragraph", "All of it is here.", 1)]
    assert complete(nodes, [{"page_number": 1, "content": "All of it\r\nis here."}]) == nodes


def test_prose_is_told_from_a_table_by_its_column_names():
    assert is_prose([["Two pages", "", ""], ["The first", "says that", "the office"]])
    assert not is_prose([["Level", "Response", "Owner"], ["SEV1", "in an hour", "lead"]])
    assert not is_prose([])


def test_full_lines_are_joined_and_short_ones_are_not():
    text = (
        "a full line of words that goes to the very end of a para-\ngraph and on\nLevel Response\nSEV1 1 hour"
    )
    assert rejoined(text, 58) == (
        "a full line of words that goes to the very end of a paragraph and on\nLevel Response\nSEV1 1 hour"
    )


def mended(kind, text, *pages):
    contents = [{"page_number": number, "content": page} for number, page in enumerate(pages, 1)]
    text, marker = Mender(contents, 40).mended({"content": {"node_type": kind}, "page": 1}, text)
    return marker + text


def test_numbers_of_clauses_come_back_once_each():
    page = (
        "4.1 We recognise all gazetted holidays.\r\n4.2 Staff’s rest days\r\n(b) Night work\r\n(b) Night work"
    )
    assert mended("list_item", "1 We recognise all gazetted holidays.", page).startswith("4.1 We recognise")
    assert mended("list_item", "2 Staff's rest days", page) == "4.2 Staff's rest days"
    assert mended("list_item", "Night work", page) == "(b) Night work"
    assert mended("paragraph", "Night work", page) == "Night work"


def test_lost_spaces_and_hyphens_come_back_only_where_a_page_shows_them():
    page = "the accuracy\nof records of high-\nrisk systems and informa-\ntion, anonymous"
    other = "a high-risk system, (an other page)"
    wide = "the quality and the accuracyof the records of high-\nrisk systems"
    assert mended("paragraph", wide, page, other).endswith("the accuracy of the records of high-risk systems")
    assert mended("paragraph", "high\x02risk informa\x02tion", page, other) == "high-risk information"
    assert mended("paragraph", "anonymous", "an onymous anonymous") == "anonymous"
    assert mended("paragraph", "a high-risk", "high-\nrisk is not seen whole") == "a high-risk"


def test_soft_hyphens_at_the_end_of_a_line_are_no_hyphens():
    assert rejoined("the words of the hand\u00ad\nbook", 20) == "the words of the handbook"
