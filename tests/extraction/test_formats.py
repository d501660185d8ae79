"""The same short policy in every format: its words, its table, its place in the text, its language."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DATA = Path(__file__).parents[1] / "data"
sys.path.insert(0, str(DATA))

from make import docx, eml, zipped  # noqa: E402

FORMATS = DATA / "formats"
SINGLE = ("docx", "eml", "epub", "html", "msg", "odt", "pptx", "rtf", "xlsx")


def exact(extracted):
    """Every block and page is a span of the text, in order, without blank edges."""
    before = 0
    for block in extracted.blocks:
        assert before <= block.start < block.end <= len(extracted.text)
        assert extracted.text[before : block.start].strip() == ""
        assert extracted.text[block.start : block.end].strip()
        before = block.end
    assert extracted.text[before:] == ""
    for page in extracted.pages:
        assert extracted.text[page.start : page.end].strip()
    for member in extracted.members:
        assert (member.extracted is None) != (member.reason == "")
        if member.extracted:
            assert not member.extracted.members
            exact(member.extracted)


def read(extractor, name):
    extracted = extractor.extract((FORMATS / name).read_bytes(), name)
    exact(extracted)
    return extracted


@pytest.mark.parametrize("suffix", SINGLE)
def test_a_policy_in_every_format(extractor, suffix):
    extracted = read(extractor, f"policy.{suffix}")
    if suffix not in ("eml", "msg"):
        assert "Country: Norway | Per diem EUR: 92\nCountry: Denmark | Per diem EUR: 88" in extracted.text
    if suffix != "xlsx":
        assert "Travel is paid by the company. The café in Århus costs at most 14 e" in (
            extracted.text.replace("€", "e")
        )
        assert extracted.language == "en"
        assert extracted.title == "Travel policy"


def test_a_slide_is_a_page_and_its_speaker_notes_stand_after_it(extractor):
    deck = read(extractor, "policy.pptx")
    first, second = deck.pages
    assert deck.text[first.start : first.end].startswith("Travel policy\n\nTravel is paid")
    assert deck.text[second.start :].startswith("Per diem\n\n")
    assert deck.text.endswith("Speaker notes: Tell the audience that rates change in April.")


def test_a_formula_without_a_value_is_said(extractor):
    book = read(extractor, "policy.xlsx")
    assert "Country: Sum | Per diem EUR: 180" in book.text
    assert book.text.endswith("Item: Sum")
    assert len(book.notices) == 1 and book.notices[0].startswith(
        "1 cell holds a formula without a stored value"
    )


def test_a_page_without_text_is_said(extractor):
    extracted = extractor.extract((DATA / "half_scanned.pdf").read_bytes(), "half_scanned.pdf")
    exact(extracted)
    assert [page.page for page in extracted.pages] == [1, 4]
    assert extracted.notices[0].startswith("Pages 2-3, 5 hold no text: they are empty, or scans.")
    assert "plug-in" in extracted.notices[0]


def test_a_mail_with_its_thread_and_attachments(extractor):
    mail = read(extractor, "policy.eml")
    head = "From: Åse Berg <ase@example.org>\nTo: Bo Lind <bo@example.org>\nDate: 2026-03-01 10:00\nSubject"
    assert mail.text.startswith(head)
    assert mail.dated == "2026-03-01"
    headings = [mail.text[b.start : b.end] for b in mail.blocks if b.kind == "heading"]
    assert headings == ["On Sun, 1 Mar 2026 at 09:00, Bo Lind <bo@example.org> wrote:"]
    assert mail.text.endswith("What may a café cost?\nBo")
    assert [member.uri for member in mail.members] == ["rates.csv", "policy.docx"]
    assert mail.members[1].extracted.title == "Travel policy"


def test_an_outlook_message(extractor):
    mail = read(extractor, "policy.msg")
    assert "To: Bo Lind <bo@example.org>\nDate: 2026-03-02 10:00" in mail.text
    assert "From: Bo Lind, Sent: Sunday\n\nTo: Åse Berg\nSubject: Cafés\n\nHow much?" in mail.text
    assert [member.uri for member in mail.members] == ["rates.csv"]


def test_a_mailbox_and_an_archive_hold_documents(extractor):
    box = read(extractor, "policy.mbox")
    assert [member.uri for member in box.members] == ["2@example.org.eml", "3@example.org.eml"]
    assert [member.extracted.title for member in box.members] == ["Travel 2", "Travel 3"]
    archive = read(extractor, "policy.zip")
    assert archive.text == "" and archive.title == "Policy"
    assert [member.uri for member in archive.members] == [
        "travel/policy.docx",
        "mails/one.eml",
        "mails/one.eml!/rates.csv",
        "mails/one.eml!/policy.docx",
        "skip.bin",
    ]
    assert "not read" in archive.members[-1].reason


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\r\t"), max_size=60)
ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def as_docx(texts):
    allowed = ["".join(c for c in t if ord(c) >= 32 and ord(c) not in (0xFFFE, 0xFFFF)) for t in texts]
    return docx("".join(f"<w:p><w:r><w:t>{t.translate(ESCAPES)}</w:t></w:r></w:p>" for t in allowed))


def as_mail(texts):
    return (
        b"From: a@example.org\nSubject: x\nContent-Type: text/plain; charset=utf-8\n\n"
        + "\n".join(texts).encode()
    )


MADE = {
    "md": lambda texts: ("text\n\n" + "\n\n".join(texts)).encode(),
    "txt": lambda texts: ("text\n\n" + "\n\n".join(texts)).encode("utf-16"),
    "html": lambda texts: (
        f"<html>text{''.join(f'<p>{t.translate(ESCAPES)}</p>' for t in texts)}</html>".encode()
    ),
    "csv": lambda texts: ("a;b\n" + "\n".join(f"x;{text}" for text in texts)).encode(),
    "eml": as_mail,
    "docx": lambda texts: as_docx(["text", *texts]),
    "zip": lambda texts: zipped(
        {f"{n}.md": f"text {text}" for n, text in enumerate(texts)} | {"a.eml": eml()}
    ),
}


@pytest.mark.parametrize("suffix", MADE)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(WORDS, max_size=6))
def test_offsets_are_exact_whatever_a_file_holds(extractor, suffix, texts):
    exact(extractor.extract(MADE[suffix](texts), f"made.{suffix}"))
