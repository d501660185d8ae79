"""Writes `formats/`: the same short policy in every format, by hand, so that each byte is our own.

Run it after a change: `python tests/data/make.py`. Dates inside archives are fixed: the same bytes come out.
"""

from __future__ import annotations

import io
import zipfile
from email.message import EmailMessage
from pathlib import Path

from make_msg import msg

FOLDER = Path(__file__).parent / "formats"
OPEN_XML = "http://schemas.openxmlformats.org"
RELATIONS = f"{OPEN_XML}/officeDocument/2006/relationships"
PARAGRAPH = "Travel is paid by the company. The café in Århus costs at most 14 € a day."
ROWS = [("Country", "Per diem EUR"), ("Norway", "92"), ("Denmark", "88")]
ITEMS = ("Ask your manager first.", "Keep every receipt.")
NOTE = "Tell the audience that rates change in April."


def zipped(members: dict[str, str | bytes], *, stored: str = "") -> bytes:
    """Return a zip archive; the member `stored` is not compressed, as `mimetype` must not be."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if name == stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return written.getvalue()


def relations(*targets: tuple[str, str]) -> str:
    """Return a relationships part: pairs of kind and target."""
    lines = "".join(
        f'<Relationship Id="r{n}" Type="{RELATIONS}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, 1)
    )
    return f'<Relationships xmlns="{OPEN_XML}/package/2006/relationships">{lines}</Relationships>'


def content_types(**parts: str) -> str:
    """Return `[Content_Types].xml` of an Office file, part by media type ending."""
    base = "application/vnd.openxmlformats-officedocument."
    lines = "".join(
        f'<Override PartName="/{part}" ContentType="{base}{media}+xml"/>' for part, media in parts.items()
    )
    return (
        f'<Types xmlns="{OPEN_XML}/package/2006/content-types"><Default Extension="rels" ContentType="'
        f'application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
        f'ContentType="application/xml"/>{lines}</Types>'
    )


def docx(body: str = "") -> bytes:
    """Return the policy as a Word file, or a file of the given body."""
    main = f"{OPEN_XML}/wordprocessingml/2006/main"

    def paragraph(text: str, style: str = "") -> str:
        properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"

    table = "".join(
        f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>" for row in ROWS
    )
    body = body or (
        paragraph("Travel policy", "Heading1")
        + paragraph(PARAGRAPH)
        + paragraph("Per diem", "Heading2")
        + f"<w:tbl>{table}</w:tbl>"
        + "".join(paragraph(item, "ListBullet") for item in ITEMS)
    )
    return zipped(
        {
            "[Content_Types].xml": content_types(**{"word/document.xml": "wordprocessingml.document.main"}),
            "_rels/.rels": relations(("officeDocument", "word/document.xml")),
            "word/document.xml": f'<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>',
        }
    )


def pptx() -> bytes:
    """Return two slides, the second with a table and speaker notes."""
    spaces = (
        f'xmlns:a="{OPEN_XML}/drawingml/2006/main" xmlns:r="{RELATIONS}" '
        f'xmlns:p="{OPEN_XML}/presentationml/2006/main"'
    )

    def shape(kind: str, *texts: str) -> str:
        lines = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in texts)
        return (
            f'<p:sp><p:nvSpPr><p:cNvPr id="2" name="{kind}"/><p:cNvSpPr/><p:nvPr><p:ph type="{kind}"/>'
            f"</p:nvPr></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>{lines}</p:txBody></p:sp>"
        )

    def part(name: str, *shapes: str) -> str:
        tree = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
        return f"<p:{name} {spaces}><p:cSld><p:spTree>{tree}{''.join(shapes)}</p:spTree></p:cSld></p:{name}>"

    cells = "".join(
        "<a:tr>"
        + "".join(
            f"<a:tc><a:txBody><a:bodyPr/><a:p><a:r><a:t>{c}</a:t></a:r></a:p></a:txBody></a:tc>" for c in row
        )
        + "</a:tr>"
        for row in ROWS
    )
    table = (
        '<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id="4" name="t"/><p:cNvGraphicFramePr/><p:nvPr/>'
        '</p:nvGraphicFramePr><p:xfrm/><a:graphic><a:graphicData uri="'
        f'{OPEN_XML}/drawingml/2006/table"><a:tbl>{cells}</a:tbl></a:graphicData></a:graphic>'
        "</p:graphicFrame>"
    )
    slides = {
        "ppt/slides/slide1.xml": part("sld", shape("title", "Travel policy"), shape("body", PARAGRAPH)),
        "ppt/slides/slide2.xml": part("sld", shape("title", "Per diem"), shape("body", *ITEMS), table),
    }
    listed = "".join(f'<p:sldId id="{256 + n}" r:id="r{n}"/>' for n in (1, 2))
    kinds = {"ppt/presentation.xml": "presentationml.presentation.main"}
    kinds |= dict.fromkeys(slides, "presentationml.slide")
    kinds["ppt/notesSlides/notesSlide1.xml"] = "presentationml.notesSlide"
    return zipped(
        {
            "[Content_Types].xml": content_types(**kinds),
            "_rels/.rels": relations(("officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": f"<p:presentation {spaces}><p:sldIdLst>{listed}</p:sldIdLst>"
            "</p:presentation>",
            "ppt/_rels/presentation.xml.rels": relations(
                ("slide", "slides/slide1.xml"), ("slide", "slides/slide2.xml")
            ),
            **slides,
            "ppt/slides/_rels/slide2.xml.rels": relations(("notesSlide", "../notesSlides/notesSlide1.xml")),
            "ppt/notesSlides/notesSlide1.xml": part("notes", shape("body", NOTE), shape("sldNum", "2")),
        }
    )


def xlsx() -> bytes:
    """Return two sheets; the second's sum was never calculated by a program."""
    main = f'xmlns="{OPEN_XML}/spreadsheetml/2006/main"'

    def cell(at: str, text: str) -> str:
        if text.isdigit():
            return f'<c r="{at}"><v>{text}</v></c>'
        return f'<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>'

    def sheet(rows: list[tuple[str, ...]], last: str = "") -> str:
        lines = "".join(
            f'<row r="{n}">{"".join(cell(f"{c}{n}", t) for c, t in zip("ABC", row, strict=False))}</row>'
            for n, row in enumerate(rows, 1)
        )
        return f"<worksheet {main}><sheetData>{lines}{last}</sheetData></worksheet>"

    total = (
        '<row r="4"><c r="A4" t="inlineStr"><is><t>Sum</t></is></c><c r="B4"><f>SUM(B2:B3)</f>{}</c></row>'
    )
    names = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(("Rates", "Costs"), 1)
    )
    kinds = {
        "xl/workbook.xml": "spreadsheetml.sheet.main",
        "xl/worksheets/sheet1.xml": "spreadsheetml.worksheet",
        "xl/worksheets/sheet2.xml": "spreadsheetml.worksheet",
    }
    return zipped(
        {
            "[Content_Types].xml": content_types(**kinds),
            "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": f'<workbook {main} xmlns:r="{RELATIONS}"><sheets>{names}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(
                ("worksheet", "worksheets/sheet1.xml"), ("worksheet", "worksheets/sheet2.xml")
            ),
            "xl/worksheets/sheet1.xml": sheet(ROWS, total.format("<v>180</v>")),
            "xl/worksheets/sheet2.xml": sheet(
                [("Item", "Cost"), ("Train", "40"), ("Hotel", "130")], total.format("")
            ),
        }
    )


def odt() -> bytes:
    """Return the policy as OpenDocument text."""
    names = ("office", "text", "table")
    spaces = " ".join(f'xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in names)
    table = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in row)
        + "</table:table-row>"
        for row in ROWS
    )
    items = "".join(f"<text:list-item><text:p>{item}</text:p></text:list-item>" for item in ITEMS)
    body = (
        f'<text:h text:outline-level="1">Travel policy</text:h><text:p>{PARAGRAPH}</text:p>'
        f'<text:h text:outline-level="2">Per diem</text:h><table:table>{table}</table:table>'
        f"<text:list>{items}</text:list>"
    )
    media_type = "application/vnd.oasis.opendocument.text"
    return zipped(
        {
            "mimetype": media_type,
            "content.xml": f"<office:document-content {spaces}><office:body><office:text>{body}</office:text>"
            "</office:body></office:document-content>",
            "META-INF/manifest.xml": '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:'
            'xmlns:manifest:1.0"><manifest:file-entry manifest:full-path="/" '
            f'manifest:media-type="{media_type}"/>'
            "</manifest:manifest>",
        },
        stored="mimetype",
    )


def html() -> str:
    """Return the policy as a page; it is also the chapter of the book."""
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in ROWS[1:])
    return (
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Travel policy</title></head><body>'
        f"<h1>Travel policy</h1><p>{PARAGRAPH}</p><h2>Per diem</h2><table><tr><th>Country</th>"
        f"<th>Per diem EUR</th></tr>{rows}</table><ul>{''.join(f'<li>{i}</li>' for i in ITEMS)}</ul>"
        "</body></html>"
    )


def epub() -> bytes:
    """Return the policy as a book of one chapter."""
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:'
            'container"><rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package'
            '+xml"/></rootfiles></container>',
            "book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">policy'
            "</dc:identifier><dc:title>Travel policy</dc:title><dc:language>en</dc:language></metadata>"
            '<manifest><item id="c" href="one.xhtml" '
            'media-type="application/xhtml+xml"/></manifest><spine><itemref '
            'idref="c"/></spine></package>',
            "one.xhtml": f'<?xml version="1.0" encoding="UTF-8"?>{html()}',
        },
        stored="mimetype",
    )


def rtf() -> bytes:
    """Return the policy in rich text."""

    def escaped(text: str) -> str:
        return "".join(c if c.isascii() else f"\\u{ord(c)}?" for c in text)

    rows = "".join(
        "\\trowd\\cellx3000\\cellx6000 "
        + "".join(f"\\intbl {escaped(cell)}\\cell " for cell in row)
        + "\\row\n"
        for row in ROWS
    )
    items = "".join(f"\\pard {escaped(item)}\\par\n" for item in ITEMS)
    return (
        "{\\rtf1\\ansi\\ansicpg1252\\deff0{\\fonttbl{\\f0 Arial;}}\n"
        f"\\pard\\b Travel policy\\b0\\par\n\\pard {escaped(PARAGRAPH)}\\par\n{rows}{items}}}"
    ).encode("ascii")


def eml(*, subject: str = "Travel policy", number: int = 1, attached: bool = True) -> bytes:
    """Return a mail in Latin-1 that answers another and carries two files."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "Åse Berg <ase@example.org>", "Bo Lind <bo@example.org>"
    mail["Subject"], mail["Date"] = subject, f"Mon, {number:02} Mar 2026 10:00:00 +0100"
    mail["Message-ID"], mail["In-Reply-To"] = f"<{number}@example.org>", "<0@example.org>"
    quoted = "On Sun, 1 Mar 2026 at 09:00, Bo Lind <bo@example.org> wrote:\n> What may a café cost?\n> Bo"
    mail.set_content(f"{PARAGRAPH.replace('€', 'euro')}\n\n{quoted}\n", charset="iso-8859-1")
    if attached:
        table = "\n".join(";".join(row) for row in ROWS)
        mail.add_attachment(table.encode(), maintype="text", subtype="csv", filename="rates.csv")
        mail.add_attachment(docx(), maintype="application", subtype="octet-stream", filename="policy.docx")
    mail.set_boundary("=-=-=") if attached else None
    return mail.as_bytes()


def outlook() -> bytes:
    """Return the mail as Outlook keeps it."""
    quoted = "From: Bo Lind\r\nSent: Sunday\r\nTo: Åse Berg\r\nSubject: Cafés\r\n\r\nHow much?\r\n"
    body = f"{PARAGRAPH}\r\n\r\n{quoted}"
    headers = "From: Ase Berg <ase@example.org>\r\nTo: Bo Lind <bo@example.org>\r\n"
    headers += "Subject: Travel policy\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\n"
    return msg(
        properties={0x1A: "IPM.Note", 0x37: "Travel policy", 0x0C1A: "Åse Berg", 0x1000: body, 0x7D: headers},
        attachments=[("rates.csv", "text/csv", "\n".join(";".join(row) for row in ROWS).encode())],
    )


def main() -> None:
    """Write every file."""
    mails = [eml(subject=f"Travel {n}", number=n, attached=False) for n in (2, 3)]
    mbox = b"".join(b"From ase@example.org Mon Mar  2 10:00:00 2026\n" + mail + b"\n" for mail in mails)
    files: dict[str, bytes] = {
        "policy.docx": docx(),
        "policy.pptx": pptx(),
        "policy.xlsx": xlsx(),
        "policy.odt": odt(),
        "policy.epub": epub(),
        "policy.rtf": rtf(),
        "policy.html": html().encode(),
        "policy.eml": eml(),
        "policy.msg": outlook(),
        "policy.mbox": mbox,
    }
    files["policy.zip"] = zipped(
        {"travel/policy.docx": docx(), "mails/one.eml": eml(), "skip.bin": b"\0\1" * 99}
    )
    FOLDER.mkdir(exist_ok=True)
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
