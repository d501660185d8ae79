"""Documents over the pipe: whole, and nothing that is not what it says."""

import os
import time

import pytest

from assistant.extraction.extracted import Builder
from assistant.extraction.pipe import Pipe
from assistant.extraction.reading import Reading
from assistant.extraction.wire import decoded, encoded


def built():
    builder = Builder(title="T", dated="2026-01-01", language="en")
    builder.add("heading", "One", level=1, page=1)
    builder.add("table", "a: 1\na: 2", page=2)
    builder.notice("page 3 is empty")
    return builder.build(title="x", media_type="text/plain")


def test_a_document_comes_back_whole():
    assert decoded(encoded(built())) == built()


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": [["paragraph", 0, 99, 0, None]]},
        {"blocks": [["paragraph", -1, 3, 0, None]]},
        {"blocks": [["paragraph", 2, 3, 0, None], ["paragraph", 1, 4, 0, None]]},
        {"blocks": [["poem", 0, 3, 0, None]]},
        {"blocks": [[0]]},
        {"blocks": [["heading", 0, 3, 0.5, None]]},
        {"blocks": [["heading", 0, 3, None, None]]},
        {"blocks": None},
        {"pages": [[1, 0, 99]]},
        {"text": None},
        {"title": 3},
        {"language": ["en"]},
    ],
)
def test_what_is_no_document_is_refused(change):
    with pytest.raises(ValueError, match=r"."):
        decoded({**encoded(built()), **change})


def test_headings_are_never_deeper_than_six_levels():
    levels = [(-9, 0), (0, 0), (3, 3), (6, 6), (5_000, 6)]
    for said, level in levels:
        assert decoded({**encoded(built()), "blocks": [["heading", 0, 3, said, 1]]}).blocks[0].level == level


def test_lines_before_a_deadline_and_never_too_long():
    source, sink = os.pipe()
    pipe = Pipe(source, sink, most_bytes=100)
    pipe.send((b"one\ntwo", b"\nthr"), deadline=time.monotonic() + 9)
    assert [pipe.line(deadline=time.monotonic() + 9), pipe.line(deadline=time.monotonic() + 9)] == [
        b"one",
        b"two",
    ]
    with pytest.raises(TimeoutError):
        pipe.line(deadline=0)
    pipe.send((b"x" * 200,), deadline=time.monotonic() + 9)
    with pytest.raises(ValueError, match="without end"):
        pipe.line(deadline=time.monotonic() + 9)
    with pytest.raises(TimeoutError):
        pipe.send((bytes(1 << 20),), deadline=0)
    os.close(sink)
    os.read(source, 1000)
    with pytest.raises(EOFError):
        Pipe(source, os.open(os.devnull, os.O_WRONLY), most_bytes=9).line(deadline=time.monotonic() + 9)


def test_a_member_that_never_began_is_nonsense():
    with pytest.raises(ValueError, match="did not begin"):
        Reading(until=0).hear({"member": "a.md", "extracted": None, "reason": "x"})
