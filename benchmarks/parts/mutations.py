"""Malformed and hostile files by the thousand: seeded mutations of real ones, and traps of every size.

It owns what is done to files; the same seed and number give the same file. It refuses to judge the outcome.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SHEET_END = b"</sheetData></worksheet>"
_SUFFIXES = ("md", "txt", "html", "pdf", "docx", "pptx", "xlsx", "csv", "eml", "msg", "rtf", "odt", "epub")
_MORE = ("json", "jsonl", "zip", "mbox", "tar", "xls", "ods", "bin", "")
_MOST_BYTES = 200_000
_OPEN_XML = "http://schemas.openxmlformats.org"
_WORD = f"{_OPEN_XML}/wordprocessingml/2006/main"
_TRAP_SHARE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A file to be read, and what was done to it."""

    uri: str
    data: bytes
    how: str


def seeds(folders: Sequence[Path]) -> list[tuple[str, bytes]]:
    """Return names and contents of the files under some folders that are small enough to mutate often."""
    found = []
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            known = file.suffix.lstrip(".") in (*_SUFFIXES, *_MORE) and not file.name.startswith("SOURCE")
            if file.is_file() and known and 0 < file.stat().st_size <= _MOST_BYTES:
                found.append((file.name, file.read_bytes()))
    return found


def by_kind(files: Sequence[tuple[str, bytes]]) -> list[list[tuple[str, bytes]]]:
    """Return the files grouped by extension, so that each kind has the same share of the mutations."""
    groups: dict[str, list[tuple[str, bytes]]] = {}
    for name, data in files:
        groups.setdefault(Path(name).suffix, []).append((name, data))
    return list(groups.values())


def hostile(number: int, groups: Sequence[Sequence[tuple[str, bytes]]], *, seed: int = 1) -> Hostile:
    """Return the file of a number."""
    chance = random.Random(f"{seed}-{number}")
    if chance.random() < _TRAP_SHARE:
        name, make = chance.choice(sorted(TRAPS.items()))
        return Hostile(uri=f"{number}.{name.split()[-1]}", data=make(chance), how=f"trap: {name}")
    name, data = chance.choice(chance.choice(groups))
    how = chance.choice(sorted(_MUTATIONS))
    other = chance.choice(chance.choice(groups))[1]
    suffix = Path(name).suffix
    if chance.random() < 0.1:
        how, suffix = f"{how}, renamed", f".{chance.choice((*_SUFFIXES, *_MORE))}"
    data = _MUTATIONS[how.removesuffix(", renamed")](data, other, chance)
    return Hostile(uri=f"{number}{suffix}", data=data, how=how)


def _flipped(data: bytes, other: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 8, 64, 512))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, other: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _spliced(data: bytes, other: bytes, chance: random.Random) -> bytes:
    at, start = chance.randrange(len(data)), chance.randrange(len(other))
    return data[:at] + other[start : start + chance.randrange(1, 5000)] + data[at:]


def _repeated(data: bytes, other: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randrange(1, 200)]
    return data[:start] + piece * chance.choice((2, 50, 2000)) + data[start:]


def _zeroed(data: bytes, other: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.randrange(1, 2000))
    return data[:start] + bytes(end - start) + data[end:]


def _inside(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Mutate a member of a zip, so that the damage is past every checksum; other files from outside."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError):
        return _flipped(data, other, chance)
    name = chance.choice(sorted(members))
    if members[name]:
        how = chance.choice((_flipped, _cut, _spliced, _repeated, _zeroed))
        members[name] = how(members[name], other, chance)
    return _zipped(members)


_MUTATIONS: dict[str, Callable[[bytes, bytes, random.Random], bytes]] = {
    "bits flipped": _flipped,
    "cut short": _cut,
    "spliced": _spliced,
    "repeated": _repeated,
    "zeroed": _zeroed,
    "mutated inside": _inside,
}


def _zipped(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def _word(body: str, head: str = "") -> bytes:
    types = (
        f'<Types xmlns="{_OPEN_XML}/package/2006/content-types"><Override PartName='
        '"/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.'
        'document.main+xml"/></Types>'
    )
    document = f'{head}<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
    return _zipped({"[Content_Types].xml": types.encode(), "word/document.xml": document.encode()})


def _size(chance: random.Random, most: int) -> int:
    return int(most ** chance.uniform(0.5, 1))


def _laughs(chance: random.Random) -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]>'
    return _word("<w:p><w:r><w:t>&a9;</w:t></w:r></w:p>", head)


def _nested_zips(chance: random.Random) -> bytes:
    data = b"deep"
    for level in range(chance.randrange(4, 40)):
        data = _zipped({f"{level}.zip": data})
    return data


def _fan(chance: random.Random) -> bytes:
    leaf = _zipped({f"{n}.txt": bytes(1 << 20) for n in range(10)})
    return _zipped({f"{n}.zip": leaf for n in range(_size(chance, 120))})


def _rows(chance: random.Random) -> bytes:
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, _size(chance, 300_000)))
    space = f'xmlns="{_OPEN_XML}/spreadsheetml/2006/main"'
    relations = f"{_OPEN_XML}/officeDocument/2006/relationships"
    return _zipped(
        {
            "[Content_Types].xml": b"<Types/>",
            "xl/workbook.xml": f'<workbook {space} xmlns:r="{relations}"><sheets>'
            '<sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>'.encode(),
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_OPEN_XML}/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/>'
            "</Relationships>".encode(),
            "xl/worksheets/sheet1.xml": f"<worksheet {space}><sheetData>{rows}".encode() + _SHEET_END,
        }
    )


def _mail_of_mails(chance: random.Random) -> bytes:
    part = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
    depth = _size(chance, 5000)
    return b"From: a@example.org\nSubject: x\n" + b"".join(part % (n, n) for n in range(depth))


def _deep_object(chance: random.Random) -> bytes:
    depth = _size(chance, 200_000)
    return b'{"a":' * depth + b"1" + b"}" * depth


def _many_members(chance: random.Random) -> bytes:
    return _zipped({f"{n}.txt": b"x" for n in range(_size(chance, 40_000))})


TRAPS: dict[str, Callable[[random.Random], bytes]] = {
    "entities docx": _laughs,
    "deep docx": lambda chance: _word("<w:p>" * _size(chance, 200_000)),
    "deep tables docx": lambda chance: _word("<w:tbl><w:tr><w:tc>" * _size(chance, 50_000)),
    "bomb docx": lambda chance: _word("<w:p><w:r><w:t>" + "A" * _size(chance, 100_000_000)),
    "rows xlsx": _rows,
    "deep html": lambda chance: b"<div>" * _size(chance, 300_000) + b"x",
    "deep lists html": lambda chance: b"<ul><li>" * _size(chance, 50_000) + b"x",
    "deep tables html": lambda chance: b"<table><tr><td>" * _size(chance, 50_000) + b"x",
    "heads html": lambda chance: b"<html><head>" * _size(chance, 50_000),
    "nested zip": _nested_zips,
    "fan zip": _fan,
    "many members zip": _many_members,
    "bomb zip": lambda chance: _zipped({"a.txt": bytes(_size(chance, 200_000_000))}),
    "bomb gz": lambda chance: gzip.compress(b"A" * _size(chance, 200_000_000), 1),
    "deep json": lambda chance: b"[" * _size(chance, 300_000),
    "deep object json": _deep_object,
    "wide json": lambda chance: json.dumps([{f"k{n}": n} for n in range(_size(chance, 20_000))]).encode(),
    "brackets md": lambda chance: b"[" * _size(chance, 100_000),
    "stars md": lambda chance: b"*a **b " * _size(chance, 30_000),
    "ticks md": lambda chance: b"`a" * _size(chance, 100_000),
    "comments md": lambda chance: b"<!-- a\n" * _size(chance, 50_000),
    "quotes md": lambda chance: b">" * _size(chance, 200_000) + b"x",
    "open table md": lambda chance: b"|a" * _size(chance, 20_000) + b"\n" + b"|-" * 20_000 + b"\n|b" * 999,
    "commas csv": lambda chance: b"a," * _size(chance, 3_000_000),
    "open quote csv": lambda chance: b'"' + b"a,\n" * _size(chance, 1_000_000),
    "parts eml": _mail_of_mails,
    "mails eml": lambda chance: (
        b"From: a@b\nSubject: x\nContent-Type: message/rfc822\n\n" * _size(chance, 3000)
    ),
    "words eml": lambda chance: (
        b"From: a@b\nSubject: " + b"=?utf-8?q?a?= " * _size(chance, 50_000) + b"\n\nx"
    ),
    "quotes eml": lambda chance: b"From: a@b\nDate: x\n\n" + (b">" * _size(chance, 3000) + b" x\n") * 500,
    "mails mbox": lambda chance: b"From a@b Mon Mar  2 10:00:00 2026\nA: b\n\n" * _size(chance, 100_000),
    "groups rtf": lambda chance: b"{\\rtf1" + b"{" * _size(chance, 300_000) + b"x",
    "arrays pdf": lambda chance: b"%PDF-1.4\n1 0 obj\n" + b"[" * _size(chance, 300_000) + b"\nendobj\n",
    "binary bin": lambda chance: chance.randbytes(_size(chance, 1_000_000)),
    "nothing md": lambda chance: bytes(_size(chance, 1_000_000)),
}
