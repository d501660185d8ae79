"""Mails whose words belong to several people, and JSON by its paths."""

import pytest

from assistant.errors import IngestError
from assistant.extraction.extracted import Builder
from assistant.extraction.jsontext import read_json
from assistant.extraction.mail import read_mail
from assistant.extraction.thread import read_thread


def blocks(read, *arguments, **options):
    builder = Builder()
    read(*arguments, builder, **options)
    built = builder.build(title="t", media_type="m")
    return [(b.kind, b.level, built.text[b.start : b.end]) for b in built.blocks]


def test_each_quoted_message_stands_under_its_writer():
    text = (
        "Yes, until Friday.\n\n> Am 02.03.2026 um 10:00 schrieb Bo <b@x>:\n> > May I leave early on\n"
        "> > Friday?\n>\n> Thanks\n\n-----Original Message-----\nFrom: Cy\nSent: Monday\nTo: Bo\n\nHello"
    )
    assert blocks(read_thread, text) == [
        ("paragraph", 0, "Yes, until Friday."),
        ("heading", 3, "Am 02.03.2026 um 10:00 schrieb Bo <b@x>:"),
        ("paragraph", 0, "May I leave early on\nFriday?"),
        ("paragraph", 0, "Thanks"),
        ("heading", 2, "-----Original Message-----"),
        ("heading", 2, "From: Cy, Sent: Monday"),
        ("paragraph", 0, "To: Bo"),
        ("paragraph", 0, "Hello"),
    ]


def test_an_introduction_over_two_lines_and_wrapped_words():
    text = (
        "On Monday, the second of March in the year 2026 at ten, Bo Lind\n<bo@example.org> wrote:\n"
        "> a line as long as mail programs make it before they break it in\n> two\n"
    )
    assert blocks(read_thread, text) == [
        (
            "heading",
            2,
            "On Monday, the second of March in the year 2026 at ten, Bo Lind, <bo@example.org> wrote:",
        ),
        ("paragraph", 0, "a line as long as mail programs make it before they break it in two"),
    ]


def mail(data):
    builder = Builder()
    inside = read_mail(data, "eml", builder, lambda page, to: to.add("paragraph", f"PAGE {page.strip()}"))
    return builder, {name: load() for name, load in inside}


def test_a_mail_of_parts():
    builder, inside = mail(
        b"From: =?iso-8859-1?q?Bj=F8rn?= <b@x>\nSubject: =?utf-8?b?w4U=?=\n nd\n"
        b"Date: Tue, 3 Mar 2026 23:30:00 -0800\n"
        b"Content-Type: multipart/mixed; boundary=b\n\n"
        b"--b\nContent-Type: text/html; charset=koi8-r\n\n<p>\xf0\n"
        b"--b\nContent-Type: message/rfc822\n\nSubject: In/ner\n\nHi\n"
        b"--b\nContent-Type: image/png; name=logo.png\n"
        b"Content-ID: <1>\n\nxx\n--b\nContent-Type: text/csv; name=a/b.csv\n\n1;2\n--b--\n"
    )
    assert (builder.title, builder.dated) == ("Å nd", "2026-03-03")
    text = builder.build(title="", media_type="").text
    assert text.startswith(
        "From: Bjørn <b@x>\nDate: 2026-03-03 23:30\nSubject: Å nd\nAttachments: In-ner.eml, a-b.csv"
    )
    assert text.endswith("PAGE <p>П")
    assert inside == {"In-ner.eml": b"Subject: In/ner\n\nHi", "a-b.csv": b"1;2"}


@pytest.mark.parametrize("date", ["yesterday", "Mon, 99 Mar 2026", ""])
def test_a_mail_without_a_usable_date(date):
    builder, _ = mail(f"From: a@x\nDate: {date}\n\nHi".encode())
    assert builder.dated is None


def test_json_by_paths_and_rows():
    text = '{"name": "Hotel", "open": true, "tags": ["a", "b"], "at": {"city": {"zip": 1}}, "rooms": ROOMS}'
    text = text.replace("ROOMS", '[{"n": 1}, {"n": 2}]')
    assert blocks(read_json, text) == [
        ("list", 0, "name: Hotel\nopen: true\ntags: a, b"),
        ("heading", 1, "at"),
        ("heading", 2, "at.city"),
        ("list", 0, "at.city.zip: 1"),
        ("heading", 1, "rooms"),
        ("table", 0, "n: 1\nn: 2"),
    ]
    assert blocks(read_json, '[{"a": [{"b": 1}]}, 5]') == [
        ("heading", 2, "[0].a"),
        ("table", 0, "b: 1"),
        ("paragraph", 0, "[1]: 5"),
    ]
    assert blocks(read_json, '{"a": 1}\n\n{"a": 2}\n', lines=True) == [("table", 0, "a: 1\na: 2")]


def test_json_too_deep():
    with pytest.raises(IngestError, match="deeper than 64"):
        read_json('{"a":' * 80 + "1" + "}" * 80, Builder())
