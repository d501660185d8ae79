"""What kind of file this is: told by its content first, by its name where content cannot tell.

It owns the kinds that are read, their media types and extensions, and the signatures of binary formats.
It refuses to trust a name: a Word file called `notes.txt` is a Word file, an archive that holds one is an
archive. Only kinds of plain text, which look alike, are told apart by their extension.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import PurePosixPath

from assistant.errors import IngestError
from assistant.extraction.broken import BROKEN

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
TEXTS = {
    "csv": "text/csv",
    "eml": "message/rfc822",
    "html": "text/html",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "mbox": "application/mbox",
    "md": "text/markdown",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
}
BINARIES = {
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "epub": "application/epub+zip",
    "msg": "application/vnd.ms-outlook",
    "odp": f"{_OPEN}.presentation",
    "ods": f"{_OPEN}.spreadsheet",
    "odt": f"{_OPEN}.text",
    "pdf": "application/pdf",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "rtf": "application/rtf",
    "tar": "application/x-tar",
    "xls": "application/vnd.ms-excel",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "zip": "application/zip",
}
_CODE = (
    *("c", "cfg", "cpp", "go", "h", "ini", "java", "js", "kt", "php", "py"),
    *("rb", "rs", "sh", "sql", "toml", "ts", "yaml", "yml"),
)
MEDIA_TYPES = {**TEXTS, **dict.fromkeys(_CODE, "text/x-code"), **BINARIES}
_ALIASES = {
    **{"htm": "html", "xhtml": "html", "markdown": "md", "ndjson": "jsonl", "tgz": "tar", "gz": "tar"},
    **{"bz2": "tar", "xz": "tar", "rst": "txt", "text": "txt", "log": "txt", "mbx": "mbox"},
    **{"docm": "docx", "dotx": "docx", "pptm": "pptx", "ppsx": "pptx", "xlsm": "xlsx"},
}
_TAR_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_OTHERS = {  # said by name, so that a refusal helps
    b"\x89PNG\r\n": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"II*\x00": "an image",
    b"MM\x00*": "an image",
    b"BM": "an image",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format 3": "a database",
    b"\xca\xfe\xba\xbe": "a program",
    b"OggS": "a recording",
    b"ID3": "a recording",
    b"RIFF": "a recording or an image",
}
_HTML = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL
)
_MAIL_FIELD = re.compile(
    rb"^(from|to|received|return-path|message-id|subject|date):", re.IGNORECASE | re.MULTILINE
)
_MBOX = re.compile(rb"From \S+.*\d\d:\d\d.*\d{4}\r?\n[A-Za-z][A-Za-z0-9-]*:")
_UNLOCK = "Save it without a password, in the current format."
OCR = "Run text recognition on it first, or name an extractor plug-in for its kind (`extraction.readers`)."


def kind_of(data: bytes, uri: str) -> str:
    """Return the kind of a file, a key of `MEDIA_TYPES`.

    Raises:
        IngestError: empty, encrypted, or of a kind that is not read.
    """
    if not data.strip(b"\0 \t\r\n\f"):
        raise IngestError("It is empty.")
    named = extension(uri)
    return _binary(data, named) or _text(data, named, uri)


def extension(uri: str) -> str:
    """Return the kind that a name promises; its extension as it is where that names none."""
    suffix = PurePosixPath(uri).suffix.lower().lstrip(".")
    return _ALIASES.get(suffix, suffix)


def _binary(data: bytes, named: str) -> str | None:
    head = data[:1024]
    if data.startswith(b"PK\x03\x04") or data.startswith(b"PK\x05\x06"):
        return _zipped(data, named)
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return _compound(data)
    if b"%PDF-" in head:
        return "pdf"
    if head.lstrip().startswith(b"{\\rtf"):
        return "rtf"
    if data.startswith(_TAR_PACKED) or data[257:262] == b"ustar":
        return "tar"
    for magic, name in _OTHERS.items():
        if data.startswith(magic) and (len(magic) > 3 or _looks_binary(head)):
            raise IngestError(f"It is {name}, which is not read.", remedy=OCR if "image" in name else "")
    return None


def _zipped(data: bytes, named: str) -> str:
    """Tell Office files, books and plain archives apart by their members."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if members and all(info.flag_bits & 1 for info in members.values() if not info.is_dir()):
                raise IngestError("It is encrypted.", remedy=_UNLOCK)
            if "mimetype" in members and members["mimetype"].file_size < 200:
                said = archive.read("mimetype").decode("ascii", errors="replace").strip()
                if found := next((kind for kind, media in BINARIES.items() if media == said), None):
                    return found
    except BROKEN as error:
        raise IngestError(
            f"It is a damaged .{named if named in BINARIES else 'zip'} file, or was cut short: {error}.",
            remedy="Copy it again from where it came.",
        ) from error
    parts = {"word/document.xml": "docx", "ppt/presentation.xml": "pptx", "xl/workbook.xml": "xlsx"}
    if "[Content_Types].xml" in members:
        for part, kind in parts.items():
            if part in members:
                return kind
        if "xl/workbook.bin" in members:
            raise IngestError("It is an .xlsb workbook, which is not read.", remedy="Save it as .xlsx.")
        if named in parts.values():  # parts under other names: the library follows relationships
            return named
    return "zip"


def _compound(data: bytes) -> str:
    """Tell old Office files and Outlook messages apart by the names of their streams."""

    def holds(name: str) -> bool:
        return name.encode("utf-16-le") in data

    if holds("EncryptedPackage"):
        raise IngestError("It is encrypted.", remedy=_UNLOCK)
    if holds("__properties_version1.0"):
        return "msg"
    if holds("Workbook") or holds("Book"):
        return "xls"
    what = "an old Word" if holds("WordDocument") else "an old Office or unknown"
    raise IngestError(f"It is {what} file, which is not read.", remedy="Save it in the current format.")


def _text(data: bytes, named: str, uri: str) -> str:
    """Choose among kinds of plain text; content overrules the name only where it is sure."""
    head = data[:4096]
    ascii_head = head.replace(b"\0", b"") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else head
    ascii_head = ascii_head.lstrip(b"\xef\xbb\xbf\xff\xfe")
    if _HTML.match(ascii_head):
        return "html"
    if _MBOX.match(ascii_head):
        return "mbox"
    if named in ("eml", "mbox", "msg", "txt", "") and _begins_as_mail(
        ascii_head, sure=named in ("eml", "msg")
    ):
        return "eml"
    if named in ("eml", "mbox"):
        raise IngestError(f"It is no mail: it does not begin with header lines, as .{named} does.")
    if named in TEXTS or named in _CODE:
        return "txt" if named == "html" and b"<" not in data else named
    if named in BINARIES:
        if _looks_binary(data[:65536]) or (b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff"))):
            raise IngestError(f"Its content is not what .{named} says, and of no kind that is read.")
        return "txt"
    name = PurePosixPath(uri).name
    if not named and name.isidentifier() and not _looks_binary(data[:65536]):
        return "txt"  # README, LICENSE
    raise IngestError(
        f"Files of kind {f'.{named}' if named else name} are not read.",
        remedy="Save it in a usual format, or name an extractor plug-in for its kind (docs/formats.md).",
    )


def _begins_as_mail(head: bytes, *, sure: bool) -> bool:
    """Whether the text begins with header lines of a mail; `sure` if its name says that it is one."""
    lines = re.match(rb"(?:[A-Za-z][A-Za-z0-9-]*:.*\n(?:[ \t].*\n)*)+", head)
    fields = {field.lower() for field in _MAIL_FIELD.findall(lines.group())} if lines else set()
    return bool(fields) if sure else len(fields) > 2 and bool(fields & {b"message-id", b"received", b"date"})


def _looks_binary(head: bytes) -> bool:
    return (
        head[:2] not in (b"\xff\xfe", b"\xfe\xff")
        and b"\0\0" in head
        or sum(map(head.count, range(1, 9))) > len(head) // 100
    )
