"""Words broken at the end of a line, put together as the document writes them elsewhere."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.extraction.extracted import Builder
from assistant.extraction.hyphens import BREAK, Hyphens
from assistant.extraction.nodes import read_nodes
from assistant.extraction.pdflines import rejoined

WHOLE = "Video on-demand and the information of a high-risk system; the architecture is in view, at risk"


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("on\x02demand", "on-demand"),  # seen with its hyphen
        ("“on\x02demand”.", "“on-demand”."),
        ("infor\x02mation", "information"),  # seen without
        ("In\x02formation", "Information"),
        ("high\x02risk", "high-risk"),
        ("post\x02COVID-19", "post-COVID-19"),  # no word is broken before a capital
        ("COVID\x0219", "COVID-19"),
        ("INFOR\x02MATION", "INFORMATION"),
        ("system\x02architecture", "system-architecture"),  # both are words, the compound was not seen
        ("appro\x02priate", "appropriate"),  # neither is
        ("state\x02of\x02the-art", "stateofthe-art"),
        ("Kund\x02tjänst", "Kundtjänst"),
    ],
)
def test_a_broken_word_is_written_as_elsewhere(broken, whole):
    assert Hyphens([WHOLE, f"here {broken} stands"]).whole(broken) == whole


def test_a_document_that_breaks_only_compounds_keeps_the_hyphen_of_one_it_has_once():
    breaks = "high\x02risk on\x02demand self\x02employment"
    assert Hyphens([WHOLE, breaks, "the employment"]).whole("self\x02employment") == "self-employment"
    breaks = "infor\x02mation archi\x02tecture self\x02employment"
    assert Hyphens([WHOLE, breaks, "the employment"]).whole("self\x02employment") == "selfemployment"


def test_line_ends_after_a_hyphen_count_as_breaks_not_as_words():
    assert Hyphens(["a com-\r\npound", "com and pound"]).joined("com", "pound") == "com-pound"
    assert Hyphens(["a com-\r\npound", "this compound"]).joined("com", "pound") == "compound"


@given(st.lists(st.text(st.sampled_from("ab -.A1\x02\n")), max_size=8))
def test_no_letter_is_lost(texts):
    hyphens = Hyphens(texts)
    for text in texts:
        for word in text.split():
            whole = hyphens.whole(word)
            assert BREAK not in whole
            assert whole.replace("-", "") == word.replace(BREAK, "").replace("-", "")


def test_what_the_structure_already_joined_is_taken_apart_again():
    nodes = [
        {"id": "1", "content": {"node_type": "paragraph", "text": "Ask for ondemand information."}, "page": 1}
    ]
    pages = [
        {"page_number": 1, "content": "Ask for on\x02demand infor\x02mation."},
        {"page_number": 2, "content": "All on-demand information."},
    ]
    builder = Builder()
    read_nodes(nodes, builder, pages=pages)
    assert builder.build(title="-", media_type="application/pdf").text == "Ask for on-demand information."


@pytest.mark.parametrize(
    "work",
    [
        lambda: rejoined("\n".join(["a full line of words that ends in an infor-"] * 2_000), 40),
        lambda: Hyphens(["x"]).joined("x" * 20_000 + ".", "x"),
        lambda: Hyphens(["x"]).whole(BREAK.join(["infor"] * 10_000)),
    ],
)
def test_time_grows_with_the_text_not_with_its_square(work):
    start = time.process_time()
    work()
    assert time.process_time() - start < 1
