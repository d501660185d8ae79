"""Files of every kind, good and bad, through the worker process."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assistant.errors import IngestError
from assistant.extraction.extract import Extractor, Limits

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
OPEN_XML = "http://schemas.openxmlformats.org"
MEDIA = "application/vnd.openxmlformats"
DOCS = ROOT / "examples" / "docs"


def docx(paragraphs, *, body=None):
    """The smallest Word file."""
    text = body or "".join(f"<w:p><w:r><w:t>{paragraph}</w:t></w:r></w:p>" for paragraph in paragraphs)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<?xml version="1.0"?><Types xmlns="{OPEN_XML}/package/2006/content-types">'
            f'<Default Extension="rels" ContentType="{MEDIA}-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{MEDIA}-officedocument.'
            'wordprocessingml.document.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            'relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
            'relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        )
        archive.writestr(
            "word/document.xml",
            '<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="http://schemas.openxmlformats.org/'
            f'wordprocessingml/2006/main"><w:body>{text}</w:body></w:document>',
        )
    return written.getvalue()


def test_offsets_and_pages_of_a_pdf(extractor):
    extracted = extractor.extract((DATA / "two_pages.pdf").read_bytes(), "two_pages.pdf")
    assert extracted.title == "Two pages"
    assert [page.page for page in extracted.pages] == [1, 2]
    second = extracted.pages[1]
    assert "HX-7" in extracted.text[second.start : second.end]
    assert "closes at noon on every" in " ".join(extracted.text.split())
    for block in extracted.blocks:
        assert extracted.text[block.start : block.end].strip()


def test_word_keeps_comparisons_and_ampersands(extractor):
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    rows = [
        ("Value", "Who", "Note"),
        ("&lt; 10k", "R&amp;D", "&#x2265; 5"),
        ("&gt; 10k", "Q&quot;A", "A&amp;lt;B"),
    ]
    table = "".join(f"<w:tr>{''.join(cell.format(value) for value in row)}</w:tr>" for row in rows)
    extracted = extractor.extract(docx([], body=f"<w:tbl>{table}</w:tbl>"), "limits.docx")
    assert extracted.text == ('Value: < 10k | Who: R&D | Note: ≥ 5\nValue: > 10k | Who: Q"A | Note: A&lt;B')
    assert extracted.title == "Limits"


def test_html_keeps_loose_text_and_reads_its_head(extractor):
    page = (
        "<html lang='nb'><head><title>Close &amp; open</title><meta name=date content='2026-02-01T10:00'>"
        "<meta name='supersedes' content='old.html'><script>alert(1)</script></head><body><h1>Close</h1>"
        "<p>By <b>day 5</b>.</p><dl><dt>Term</dt><dd>Meaning</dd></dl><div>Loose <span>text</span></div>"
        "<ul><li>one<ul><li>deep</li></ul></li></ul><table><tr><th>A</th><th>B</th></tr><tr><td>1</td>"
        "<td>&lt; 2 | 3</td></tr></table><script>alert(2)</script></body></html>"
    )
    extracted = extractor.extract(page.encode(), "close.html")
    assert (extracted.title, extracted.dated, extracted.supersedes, extracted.language) == (
        "Close & open",
        "2026-02-01",
        "old.html",
        "nb",
    )
    for words in ("By day 5.", "Term", "Meaning", "Loose text", "- one\n  - deep", "A: 1 | B: < 2 | 3"):
        assert words in extracted.text
    assert "alert" not in extracted.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "cp1252", "utf-32"])
def test_text_in_any_usual_encoding(extractor, encoding):
    text = "Café “naïve”, 5 € – ok"
    data = ("\ufeff" + text).encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)
    assert extractor.extract(data, "a.txt").text == text


def test_headings_of_plain_text_title_it(extractor):
    text = (
        "TRAVEL POLICY\r\n\r\nEvery trip is paid.\r\n\r\n1.1 Meals\r\n\r\nA meal costs at most 14 euros.\r\n"
    )
    extracted = extractor.extract(text.encode(), "a.txt")
    headings = [extracted.text[b.start : b.end] for b in extracted.blocks if b.kind == "heading"]
    assert (extracted.title, headings) == ("TRAVEL POLICY", ["TRAVEL POLICY", "1.1 Meals"])


def test_a_list_of_values_with_semicolons(extractor):
    extracted = extractor.extract(b"Country;Rate;Cap\nNorway;92;1,5\n", "per-diem_rates.csv")
    assert extracted.text == "Country: Norway | Rate: 92 | Cap: 1,5"
    assert extracted.title == "Per diem rates"


@pytest.mark.parametrize("uri", ["finance/per-diem-rates-2026.xlsx", "hr/annual-leave-and-holidays.docx"])
def test_sample_documents_in_office_formats(extractor, uri):
    extracted = extractor.extract((DOCS / uri).read_bytes(), uri)
    assert len(extracted.text) > 500 and any(block.kind == "table" for block in extracted.blocks)


@pytest.mark.parametrize(
    ("data", "uri", "words"),
    [
        (b"\x00\x01\x02junk" * 500, "junk.pdf", "not what .pdf says"),
        (b"\x89PNG\r\n\x1a\n", "scan.png", "an image.*text recognition"),
        (b"\x00\x01\x02junk" * 500, "junk.md", "binary content"),
        (b"", "empty.md", "empty"),
        (b" \n\n ", "blank.md", "empty"),
        (b"PK\x03\x04", "all.zip", "damaged .zip"),
        (b"x { color: red }", "style.css", "kind .css are not read"),
        (b"KEY=value", ".env", "not read"),
        (b"PK\x03\x04broken", "broken.docx", "damaged .docx"),
        (b"PK\x03\x04broken", "broken.xlsx", "damaged .xlsx"),
        (b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"), "locked.docx", "encrypted"),
        (b"\xd0\xcf\x11\xe0" + b"x" * 600, "old.doc", "old Office"),
        ((DATA / "encrypted.pdf").read_bytes(), "encrypted.pdf", "without a password"),
        ((DATA / "scan.pdf").read_bytes(), "scan.pdf", "holds no text"),
        ((DATA / "two_pages.pdf").read_bytes()[:400], "cut.pdf", "cannot be read"),
        (b"[" * 100_000, "deep.json", "nest deeper"),
        (b'{"a": 1,}', "broken.json", "no JSON"),
        (docx(["x"])[:200], "cut.docx", "damaged"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(extractor, data, uri, words):
    with pytest.raises(IngestError, match=words) as caught:
        extractor.extract(data, uri)
    assert len(str(caught.value)) < 500


def test_sizes_are_bounded(extractor):
    with Extractor(limits=Limits(max_bytes=10)) as small, pytest.raises(IngestError, match="MiB"):
        small.extract(b"x" * 11, "a.md")
    with Extractor(limits=Limits(max_characters=10)) as small, pytest.raises(IngestError, match="characters"):
        small.extract(b"x" * 11, "a.md")


def test_a_bomb_meets_the_memory_limit_and_the_next_file_is_read():
    bomb = docx(["A" * 50_000_000])
    with Extractor(limits=Limits(timeout_s=30, memory_bytes=256 << 20)) as extractor:
        with pytest.raises(IngestError, match="memory|MiB"):
            extractor.extract(bomb, "bomb.docx")
        assert extractor.extract(b"fine", "a.md").text == "fine"


def test_a_front_matter_that_would_expand_without_end_is_plain_text(extractor):
    references = "".join(f"b{n}: &b{n} [{','.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12))
    extracted = extractor.extract(f"---\nb0: &b0 [x]\n{references}---\ntext".encode(), "slow.md")
    assert extracted.text.endswith("text") and len(extracted.text) < 1000


def test_as_many_threads_as_workers(extractor):
    with Extractor(workers=2) as two, ThreadPoolExecutor(4) as threads:
        texts = list(threads.map(lambda n: two.extract(f"text {n}".encode(), "a.txt").text, range(12)))
    assert texts == [f"text {n}" for n in range(12)]
