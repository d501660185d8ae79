"""Running headers, footers and page numbers."""

import tracemalloc

import pytest

from assistant.extraction.extracted import Builder
from assistant.extraction.nodes import read_nodes
from assistant.extraction.running import Running


def page(number, *lines):
    return {"page_number": number, "content": "\r\n".join(lines)}


def node(kind, text, number):
    return {"id": text, "content": {"node_type": kind, "text": text, "level": 1}, "page": number}


BODY = [f"Rule {n} says that part {n * 7} of the pay is kept for a month and a day." for n in range(1, 9)]


def test_they_are_no_headings_and_the_first_one_stays_as_text():
    pages = [page(n, "RULES OF PAY", f"Page {n} of 8", BODY[n - 1]) for n in range(1, 9)]
    nodes = [
        each
        for n in range(1, 9)
        for each in (node("heading", f"RULES OF PAY Page {n} of 8", n), node("paragraph", BODY[n - 1], n))
    ]
    builder = Builder()
    read_nodes(nodes, builder, pages=pages)
    extracted = builder.build(title="-", media_type="application/pdf")
    assert extracted.text.split("\n\n") == ["RULES OF PAY Page 1 of 8", *BODY]
    assert "heading" not in {block.kind for block in extracted.blocks}


def test_left_and_right_pages_may_differ():
    pages = [page(n, BODY[n - 1], "Rules" if n % 2 else "Company", str(n)) for n in range(1, 9)]
    running = Running(pages)
    assert [running.page(each)["content"].strip() for each in pages[2:]] == BODY[2:]
    assert running.page(pages[1])["content"].split("\n")[1:] == ["Company", ""]
    nodes = [node("paragraph", f"{BODY[3]}\nCompany\n4", 4), node("heading", "Company", 2)]
    assert [(n["content"]["node_type"], n["content"]["text"]) for n in running.nodes(nodes)] == [
        ("paragraph", BODY[3]),
        ("paragraph", "Company"),
    ]


def test_numbers_that_do_not_follow_the_pages_stay():
    pages = [page(n, f"Amendment {n * n}", BODY[n - 1]) for n in range(1, 9)]
    nodes = [node("heading", f"Amendment {n * n}", n) for n in range(1, 9)]
    running = Running(pages)
    assert [running.page(each) for each in pages] == pages
    assert list(running.nodes(nodes)) == nodes


def test_a_few_pages_or_lines_in_the_middle_show_nothing():
    few = [page(n, "RULES", BODY[n - 1]) for n in range(1, 4)]
    assert [Running(few).page(each) for each in few] == few
    inner = [
        page(n, BODY[n - 1], BODY[n % 8], "Same", BODY[(n + 1) % 8], BODY[(n + 2) % 8]) for n in range(1, 9)
    ]
    assert [Running(inner).page(each) for each in inner] == inner


def read(nodes, pages):
    builder = Builder()
    read_nodes(nodes, builder, pages=pages)
    built = builder.build(title="-", media_type="application/pdf")
    return [(block.kind, built.text[block.start : block.end]) for block in built.blocks]


def under(kind, heads):
    """Return the nodes and pages of a text for each head, which is of that kind."""
    pages = [page(n, head, BODY[n - 1], str(n)) for n, head in enumerate(heads, 1)]
    nodes = [
        each
        for n, head in enumerate(heads, 1)
        for each in (node(kind, head, n), node("paragraph", f"{BODY[n - 1]}\n{n}", n))
    ]
    return nodes, pages


@pytest.mark.parametrize("kind", ["heading", "paragraph"])
@pytest.mark.parametrize("sign", ["Rule", "§"])
def test_one_clause_a_page_keeps_its_number(kind, sign):
    heads = [f"{sign} {n}" for n in range(1, 7)]
    nodes, pages = under(kind, heads)
    for each in nodes[::2]:
        each["annotations"] = [{"kind": "bold", "start": 0, "end": len(each["content"]["text"])}]
    found = read(nodes, pages)
    assert [text for _, text in found] == [text for pair in zip(heads, BODY, strict=False) for text in pair]
    assert sign == "§" or {kind for kind, _ in found[::2]} == {"heading"}


@pytest.mark.parametrize("line", ["{} / 6", "- {} -", "Sida {} av 6"])
def test_what_is_certainly_the_number_of_the_page_is_no_clause(line):
    found = read(*under("heading", [line.format(n) for n in range(1, 7)]))
    assert [text for _, text in found if text not in BODY] in ([], ["Sida 1 av 6"])


def test_a_number_with_words_is_left_out_at_the_foot_or_where_it_is_no_heading():
    heads = [f"Page {n}" for n in range(1, 7)]
    assert len(read(*under("paragraph", heads))) == 7
    pages = [page(n, BODY[n - 1], head) for n, head in enumerate(heads, 1)]
    nodes = [
        node(*each)
        for n in range(1, 7)
        for each in (("paragraph", BODY[n - 1], n), ("heading", heads[n - 1], n))
    ]
    assert len(read(nodes, pages)) == 7


def test_a_paragraph_that_begins_like_the_header_stays_whole():
    header, text = "Employee Handbook", "Employee Handbook rules bind everybody, in every month of the year."
    pages = [page(n, header, text if n == 3 else BODY[n - 1]) for n in range(1, 7)]
    nodes = [node("paragraph", text if n == 3 else BODY[n - 1], n) for n in range(1, 7)]
    assert ("paragraph", text) in read(nodes, pages)
    nodes[2] = node("paragraph", f"{header} {text}", 3)
    assert ("paragraph", text) in read(nodes, pages)


@pytest.mark.parametrize("count", [1, 4])
def test_long_lines_of_numbers_take_little_memory(count):
    pages = [page(n, "12 kg " * 2_000) for n in range(1, count + 1)]
    tracemalloc.start()
    try:
        Running(pages)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
