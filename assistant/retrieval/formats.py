"""Which file formats are read, and how each becomes blocks. This runs inside the worker process only.

It owns the media types, the check that content is what its name says, the decoding of text, and the
route of each format; it refuses archives, unknown kinds and binary content under a text's name.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from assistant.errors import IngestError
from assistant.retrieval.decode import decode, read_head, spoken
from assistant.retrieval.docx import with_readable_entities, without_placeholders
from assistant.retrieval.extracted import Builder, Extracted
from assistant.retrieval.markdown import iso_date, read_markdown, tell
from assistant.retrieval.nodes import read_nodes
from assistant.retrieval.table import add_table

if TYPE_CHECKING:
    from kreuzberg import ExtractionResult

_OFFICE = "application/vnd.openxmlformats-officedocument"
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_TEXT_SUFFIXES = {
    "text/csv": ("csv",),
    "text/tab-separated-values": ("tsv",),
    "text/html": ("htm", "html"),
    "text/markdown": ("markdown", "md"),
    "text/plain": ("rst", "text", "txt"),
    "application/json": ("json",),
}
_CODE_SUFFIXES = (
    *("c", "cfg", "cpp", "go", "h", "ini", "java", "js", "kt", "php", "py"),
    *("rb", "rs", "sh", "sql", "toml", "ts", "yaml", "yml"),
)
TEXTS = {suffix: media_type for media_type, suffixes in _TEXT_SUFFIXES.items() for suffix in suffixes}
CODE = dict.fromkeys(_CODE_SUFFIXES, "text/x-code")
BINARIES = {
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "eml": "message/rfc822",
    "epub": "application/epub+zip",
    "msg": "application/vnd.ms-outlook",
    "odt": "application/vnd.oasis.opendocument.text",
    "pdf": "application/pdf",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "rtf": "application/rtf",
    "xls": "application/vnd.ms-excel",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
}
KNOWN = {**TEXTS, **CODE, **BINARIES}
_MAGIC = {
    "pdf": b"%PDF-",
    "rtf": b"{\\rtf",
    **dict.fromkeys(("xls", "msg"), _OLE),
    **dict.fromkeys(("docx", "epub", "odt", "pptx", "xlsx"), _ZIP),
}
_TITLED_BY_HEADING = ("docx", "odt", "pptx", "rtf")  # their title property is often that of a template
_TITLED_BY_NAME = ("xls", "xlsx", "json", "eml", "msg")  # their first heading is that of a part
_DATED = re.compile(r"^Date: (\d{4}-\d\d-\d\d)\b", re.MULTILINE)
_UNLOCK = "Save it without a password, in the current format."
_HEAD = re.compile(r"<(head|title)[\s>].*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_JUNK_TITLE = re.compile(
    r"(\(?(un(titled|specified|known)|anonymous)\)?|microsoft word - .*|\S*\.\w{2,4})?", re.IGNORECASE
)


def read(data: bytes, uri: str) -> Extracted:
    """Return the text and structure of a file.

    Raises:
        IngestError: of an unknown kind, not what its name says, encrypted, damaged, or without text.
    """
    suffix = PurePosixPath(uri).suffix.lower().lstrip(".")
    if suffix not in KNOWN:
        raise IngestError(f"Files of kind .{suffix} are not read.", remedy=f"Read are: {', '.join(KNOWN)}.")
    _check_content(data, suffix)
    builder = Builder()
    if suffix in BINARIES:
        _read_binary(data, suffix, builder)
    else:
        _read_text(decode(data), suffix, builder)
    named = builder.first_line() if suffix == "pdf" else builder.first_heading()
    title = (None if suffix in _TITLED_BY_NAME else named) or spoken(uri)
    extracted = builder.build(title=title, media_type=KNOWN[suffix])
    if suffix == "docx":  # one character for one: offsets stay
        extracted = replace(
            extracted, text=without_placeholders(extracted.text), title=without_placeholders(extracted.title)
        )
    if extracted.dated is None and (said := _DATED.search(extracted.text, 0, 600)):
        extracted = replace(extracted, dated=iso_date(said.group(1)))
    if not extracted.text:
        raise IngestError("It holds no text.", remedy="If it is a scan, run text recognition on it first.")
    return extracted


def _check_content(data: bytes, suffix: str) -> None:
    if not data.strip():
        raise IngestError("It is empty.")
    magic = _MAGIC.get(suffix)
    if magic is None or magic in data[:1024]:
        return
    if data.startswith(_OLE) and magic == _ZIP:
        raise IngestError("It is encrypted, or of an old format under a new name.", remedy=_UNLOCK)
    raise IngestError(f"Its content is not what .{suffix} says.", remedy="Correct the file or its extension.")


def _read_text(text: str, suffix: str, builder: Builder) -> None:
    if suffix in ("md", "markdown"):
        read_markdown(text, builder)
    elif suffix in ("htm", "html"):
        head = read_head(text)
        builder.title, builder.language = head.title or None, head.language or None
        tell(builder, {key: head.said[key] for key in ("date", "owner", "author") if key in head.said})
        builder.supersedes = head.said.get("supersedes")
        content = _kreuzberg(_HEAD.sub("", text).encode(), "text/html").content
        read_markdown(content, builder, front_matter=False)
    elif suffix in ("csv", "tsv"):
        separator = max(",;\t|", key=text.partition("\n")[0].count)
        add_table(builder, list(csv.reader(io.StringIO(text), delimiter=separator)), explicit_header=False)
    elif suffix == "json":
        read_nodes(_nodes(_kreuzberg(text.encode(), TEXTS[suffix])), builder)
    elif suffix in CODE:
        builder.add("code", text)
    else:
        for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
            builder.add("paragraph", paragraph)


def _read_binary(data: bytes, suffix: str, builder: Builder) -> None:
    if suffix == "docx":
        data = with_readable_entities(data)
    result = _kreuzberg(data, BINARIES[suffix])
    metadata = dict(result.metadata or {})
    title = str(metadata.get("subject" if suffix in ("eml", "msg") else "title") or "").strip()
    title = "" if _JUNK_TITLE.fullmatch(title) else title
    if suffix not in _TITLED_BY_HEADING:
        builder.title = title or None
    read_nodes(_nodes(result), builder, pages=result.pages or [] if suffix == "pdf" else None)
    if suffix in _TITLED_BY_HEADING:
        builder.title = builder.first_heading() or title or None


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
