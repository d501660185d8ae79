"""How each kind of file becomes blocks. This runs inside the worker process only.

It owns the route of each format, where its title comes from, and what it cannot show; it refuses to open
what stands inside an archive or a mail: that is handed back to be read as a file of its own.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assistant.errors import IngestError
from assistant.extraction.archive import Content, contents
from assistant.extraction.decode import decode, read_head, spoken
from assistant.extraction.docx import with_readable_entities, without_placeholders
from assistant.extraction.extracted import Builder, Extracted
from assistant.extraction.headings import plain_headings
from assistant.extraction.jsontext import read_json
from assistant.extraction.kinds import BINARIES, MEDIA_TYPES, OCR, kind_of
from assistant.extraction.language import declared, language_of
from assistant.extraction.limits import Budget
from assistant.extraction.mail import read_mail
from assistant.extraction.markdown import read_markdown, tell
from assistant.extraction.nodes import read_nodes
from assistant.extraction.sheet import uncalculated
from assistant.extraction.slides import numbered, read_slides
from assistant.extraction.table import add_table

if TYPE_CHECKING:
    from kreuzberg import ExtractionResult

_ARCHIVES = ("mbox", "tar", "zip")
_MAILS = ("eml", "msg")
_TITLED_BY_HEADING = ("docx", "odp", "odt", "pptx", "rtf")  # their title property is often a template's
_TITLED_BY_NAME = ("csv", "json", "jsonl", "ods", "tsv", "xls", "xlsx")  # their first heading is a part's
_UNLOCK = "Save it without a password, in the current format."
_HEAD_START = re.compile(r"<(head|title)[\s>]", re.IGNORECASE)
_JUNK_TITLE = re.compile(
    r"(\(?(un(titled|specified|known)|anonymous)\)?|microsoft word - .*|\S*\.\w{2,4}|\w{1,3})?", re.IGNORECASE
)


def read(data: bytes, uri: str, budget: Budget) -> tuple[Extracted, Iterator[Content]]:
    """Return the text and structure of a file, and what stands inside it, yet unread.

    Raises:
        IngestError: of an unknown kind, encrypted, damaged, over a limit, or without text.
    """
    kind = kind_of(data, uri)
    builder = Builder()
    inside: Iterator[Content] = iter(())
    if kind in _ARCHIVES:
        inside = contents(data, kind, uri, budget)
    elif kind in _MAILS:
        inside = read_mail(data, kind, builder, _add_page)
    elif kind in BINARIES:
        _read_binary(data, kind, builder)
    else:
        _read_text(decode(data), kind, builder)
    extracted = builder.build(title=_title(kind, builder, uri), media_type=MEDIA_TYPES[kind])
    if kind == "docx":  # one character for one: offsets stay
        extracted = replace(
            extracted, text=without_placeholders(extracted.text), title=without_placeholders(extracted.title)
        )
    if not extracted.text and kind not in _ARCHIVES:
        raise IngestError("It holds no text.", remedy=OCR)
    return replace(extracted, language=_language(extracted, kind)), inside


def _title(kind: str, builder: Builder, uri: str) -> str:
    if kind in (*_TITLED_BY_NAME, *_ARCHIVES, *_MAILS):
        return spoken(uri)
    return (builder.first_line() if kind == "pdf" else builder.first_heading()) or spoken(uri)


def _language(extracted: Extracted, kind: str) -> str | None:
    """Return what the front matter says, else what the words say, else what the page's frame says."""
    said = declared(extracted.language)
    if said and kind == "md":
        return said
    prose = [
        extracted.text[b.start : b.end] for b in extracted.blocks[:60] if b.kind in ("paragraph", "list")
    ]
    return language_of("\n".join(prose) or extracted.text) or said


def _read_text(text: str, kind: str, builder: Builder) -> None:
    if kind == "md":
        read_markdown(text, builder)
    elif kind == "html":
        head = read_head(text)
        builder.title, builder.language = head.title or None, head.language or None
        tell(builder, {key: head.said[key] for key in ("date", "owner", "author") if key in head.said})
        builder.supersedes = head.said.get("supersedes")
        _add_page(text, builder)
    elif kind in ("csv", "tsv"):
        add_table(builder, _rows(text), explicit_header=False)
    elif kind in ("json", "jsonl"):
        read_json(text, builder, lines=kind == "jsonl")
    elif kind == "txt":
        paragraphs = re.split(r"\n(?:[ \t]*\n)+", text.replace("\r\n", "\n").strip("\n"))
        for level, paragraph in plain_headings(paragraphs):
            builder.add("heading" if level else "paragraph", paragraph, level=level)
    else:
        builder.add("code", text)


def _rows(text: str) -> list[list[str]]:
    """Return the rows of comma-, semicolon-, tab- or bar-separated values."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    separator = max(",;\t|", key=text.partition("\n")[0].count)
    csv.field_size_limit(max(len(text), 1))  # a cell may be a page of text; the file's size bounds it
    try:
        return list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise IngestError(f"Its rows cannot be told apart: {error}.", remedy="Export it again.") from error


def _add_page(text: str, builder: Builder) -> None:
    """Append the body of an HTML page."""
    content = _kreuzberg(_headless(text).encode(errors="replace"), MEDIA_TYPES["html"]).content
    read_markdown(content, builder, front_matter=False)


def _headless(text: str) -> str:
    """Return a page without its head, or without its title where it has no head."""
    if start := _HEAD_START.search(text):
        if end := re.compile(rf"</{start.group(1)}\s*>", re.IGNORECASE).search(text, start.end()):
            return text[: start.start()] + text[end.end() :]
    return text


def _read_binary(data: bytes, kind: str, builder: Builder) -> None:
    if kind == "docx":
        data = with_readable_entities(data)
    result = _kreuzberg(data, BINARIES[kind])
    metadata = dict(result.metadata or {})
    title = str(metadata.get("title") or "").strip()
    title = "" if _JUNK_TITLE.fullmatch(title) else title
    builder.language = str(metadata.get("language") or "") or None
    if kind not in _TITLED_BY_HEADING:
        builder.title = title or None
    nodes = _nodes(result)
    if kind == "pdf":
        read_nodes(nodes, builder, pages=result.pages or [])
        builder.notice(_textless(result.pages or []))
    elif kind == "pptx":
        read_nodes(list(numbered(nodes, read_slides(data))), builder)
    else:
        read_nodes([{**node, "page": None} for node in nodes], builder)
    if kind == "xlsx":
        builder.notice(uncalculated(data))
    if kind in _TITLED_BY_HEADING:
        builder.title = builder.first_heading() or title or None


def _textless(pages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a notice that names the pages without text."""
    numbers = [int(page["page_number"]) for page in pages if not str(page["content"]).strip()]
    if not numbers:
        return None
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    named = ", ".join("-".join(map(str, span)) for span in ranges[:20]) + ", …" * (len(ranges) > 20)
    if len(numbers) == 1:
        return f"Page {named} holds no text: it is empty, or a scan. {OCR}"
    return f"Pages {named} hold no text: they are empty, or scans. {OCR}"


def _kreuzberg(data: bytes, media_type: str) -> ExtractionResult:
    """Run the extraction library.

    Raises:
        IngestError: it refuses the file.
    """
    from kreuzberg import ExtractionConfig, KreuzbergError, PageConfig, extract_bytes_sync

    config = ExtractionConfig(
        output_format="markdown",
        include_document_structure=True,
        pages=PageConfig(extract_pages=True),
        use_cache=False,
        disable_ocr=True,
    )
    try:
        return extract_bytes_sync(data, media_type, config=config)
    except (KreuzbergError, ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        encrypted = "password" in reason.lower() or "encrypt" in reason.lower()
        raise IngestError(
            f"It cannot be read as {media_type}: {reason}.",
            remedy=_UNLOCK if encrypted else "Open it in its own program and save it again.",
        ) from error


def _nodes(result: ExtractionResult) -> list[dict[str, Any]]:
    return list(result.document["nodes"]) if result.document else []
