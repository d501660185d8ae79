"""Running headers, footers and page numbers."""

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
