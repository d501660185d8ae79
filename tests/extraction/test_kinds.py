"""Kinds by content before extension, archives within bounds, character sets, languages."""

import bz2
import gzip
import io
import sys
import tarfile
from pathlib import Path

import pytest

from assistant.errors import IngestError
from assistant.extraction.archive import contents
from assistant.extraction.decode import decode, decode_as
from assistant.extraction.kinds import kind_of
from assistant.extraction.language import declared, language_of
from assistant.extraction.limits import Budget, Limits

DATA = Path(__file__).parents[1] / "data"
sys.path.insert(0, str(DATA))

from make import docx, eml, html, odt, outlook, pptx, rtf, xlsx, zipped  # noqa: E402

PDF = (DATA / "two_pages.pdf").read_bytes()
GERMAN = "Der Urlaub für März muss schriftlich bestätigt werden. Größere Ausgaben prüft die Geschäftsführung."
POLISH = (
    "Urlop musi zostać zatwierdzony przez przełożonego. Koszty podróży są zwracane w ciągu dziesięciu dni."
)
RUSSIAN = "Отпуск должен быть одобрен вашим руководителем. Счёт подлежит оплате третьего марта."
JAPANESE = "年次休暇は上司の承認が必要です。ポータルでパスワードを再設定してください。"


@pytest.mark.parametrize("uri", ["a.txt", "a.md", "a.pdf", "a.zip", "a", "a.bin"])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PDF, "pdf"),
        (docx(), "docx"),
        (pptx(), "pptx"),
        (xlsx(), "xlsx"),
        (odt(), "odt"),
        (rtf(), "rtf"),
        (outlook(), "msg"),
        (zipped({"a.docx": docx()}), "zip"),
        (zipped({"in/word/document.xml": "x"}), "zip"),
        (html().encode(), "html"),
        (gzip.compress(b"x"), "tar"),
    ],
)
def test_content_overrules_the_name(data, uri, kind):
    assert kind_of(data, uri) == kind


@pytest.mark.parametrize(
    ("data", "uri", "kind"),
    [
        (b"a,b\n1,2\n", "a.csv", "csv"),
        (b"# a", "a.MD", "md"),
        (b'{"a": 1}', "a.json", "json"),
        (b"plain", "a.html", "txt"),
        (b"plain words", "a.docx", "txt"),
        (b"plain words", "README", "txt"),
        (eml(), "a.eml", "eml"),
        (eml(), "a.txt", "eml"),
        (b"Subject: no mail\n\nFrom: here on, text.", "a.txt", "txt"),
        (b"From a@b.c Mon Mar  2 10:00:00 2026\n" + eml(), "a.txt", "mbox"),
        (html().encode("utf-16"), "a.txt", "html"),
        (b"print(1)", "a.py", "py"),
    ],
)
def test_kinds_of_text_go_by_their_name(data, uri, kind):
    assert kind_of(data, uri) == kind


def unpacked(data, kind, uri="a", **limits):
    budget = Budget(limits=Limits(**limits))
    return {name: load() for name, load in contents(data, kind, uri, budget)}


def tarred(members, mode="w"):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return written.getvalue()


def test_what_stands_inside_archives():
    wanted = {"a.md": b"1", "b/a.md": b"2", "a-2.md": b"3"}
    members = [("../a.md", b"1"), ("/b/./a.md", b"2"), ("a.md", b"3"), ("__MACOSX/a.md", b"4")]
    assert unpacked(tarred(members), "tar") == wanted
    assert unpacked(tarred(members, "w:gz"), "tar") == wanted
    assert unpacked(zipped({"x/": "", "x/a.md": "1", ".DS_Store": "2"}), "zip") == {"x/a.md": b"1"}
    assert unpacked(gzip.compress(b"1"), "tar", "notes/a.md.gz") == {"a.md": b"1"}
    assert unpacked(bz2.compress(b"1"), "tar", "a.md.bz2") == {"a.md": b"1"}


@pytest.mark.parametrize(
    ("data", "kind", "limits", "words"),
    [
        (zipped({"a": "A" * 100_000_000}), "zip", {}, "-fold"),
        (
            zipped({f"{n}": "A" * 1_000_000 for n in range(9)}),
            "zip",
            {"max_expanded_bytes": 5 << 20},
            "expands",
        ),
        (zipped({f"{n}": "x" for n in range(11)}), "zip", {"max_members": 10}, "more than 10 files"),
        (tarred([(f"{n}", b"") for n in range(11)]), "tar", {"max_members": 10}, "more than 10 files"),
        (tarred([("a", bytes(9 << 20))], "w:gz"), "tar", {"max_expanded_bytes": 5 << 20}, "expands"),
        (gzip.compress(b"x" * (9 << 20)), "tar", {"max_bytes": 5 << 20}, "more than 5 MiB"),
        (gzip.compress(b"x" * 999)[:-9], "tar", {}, "damaged"),
        (gzip.compress(bytes(2048)), "tar", {}, "holds no files"),
        (b"From a@b c\nA: b\n\n" * 11, "mbox", {"max_members": 10}, "more than 10 files"),
    ],
)
def test_archives_are_bounded(data, kind, limits, words):
    with pytest.raises(IngestError, match=words):
        unpacked(data, kind, **limits)


def test_mails_of_a_box_keep_their_names_when_more_come():
    mail = b"From a@b Mon\nMessage-ID: <%d/x@b>\n\n>From here\nFrom there\n\n"
    box = unpacked(b"".join(mail % n for n in (1, 2)), "mbox")
    assert list(box) == ["1-x@b.eml", "2-x@b.eml"]
    assert box["1-x@b.eml"] == b"Message-ID: <1/x@b>\n\nFrom here\nFrom there"


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        (GERMAN, "latin-1"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859-2"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
    ],
)
def test_text_without_a_mark_is_decoded(text, charset):
    assert decode(text.encode(charset)) == text


def test_declared_character_sets():
    page = '<html><head><meta charset="{}"></head>Příliš žluťoučký kůň</html>'
    assert decode(page.format("windows-1250").encode("cp1250")).endswith("žluťoučký kůň</html>")
    assert decode(page.format("utf-16").encode("utf-8")).endswith("žluťoučký kůň</html>")
    assert decode_as("łódź".encode("iso8859-2"), "iso-8859-2") == "łódź"
    assert decode_as(b"14 \x80", "iso-8859-1") == "14 €"
    assert decode_as(b"caf\xe9", "no-such-thing") == "café"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "de"),
        (POLISH, "pl"),
        (RUSSIAN, "ru"),
        (JAPANESE, "ja"),
        ("Annual leave must be approved by your manager before you book.", "en"),
        ("Les congés annuels doivent être approuvés par votre responsable.", "fr"),
        ("OK", None),
        ("INV-2024-0031 | 17.50 | EUR 12", None),
        ("", None),
    ],
)
def test_languages(text, language):
    assert language_of(text) == language


def test_declared_languages():
    assert [declared(said) for said in ("nb-NO", "EN", "english", "", None)] == ["nb", "en", None, None, None]
