"""What kreuzberg 4.10 leaves out of presentations: which slide a text stands on, and the speaker's notes.

It owns the reading of slides' parts in their order; it refuses layouts and masters.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from assistant.extraction.broken import BROKEN

Node = Mapping[str, Any]
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_SHOW = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """A slide's text without spaces, and what its speaker is to say."""

    squeezed: str
    notes: str


def read_slides(data: bytes) -> list[Slide]:
    """Return the slides of a presentation in order; none where its parts cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            links = _links(archive, "ppt/presentation.xml")
            order = _root(archive, "ppt/presentation.xml").iter(f"{_SHOW}sldId")
            paths = [links[slide.attrib[f"{_LINK}id"]] for slide in order]
            return [_slide(archive, path) for path in paths]
    except BROKEN:
        return []


def numbered(nodes: Sequence[Node], slides: Sequence[Slide]) -> Iterator[Node]:
    """Yield the nodes with the number of their slide as page, and notes after each slide's last."""
    at = 0
    for node in nodes:
        words = _squeezed(_words(node))
        ahead = range(at, len(slides))
        found = next((n for n in ahead if words and words in slides[n].squeezed), at)
        for done in range(at, found):
            yield from _notes(slides, done)
        at = found
        yield {**node, "page": at + 1}
    for done in range(at, len(slides)):
        yield from _notes(slides, done)


def _notes(slides: Sequence[Slide], at: int) -> Iterator[Node]:
    if slides[at].notes:
        text = f"Speaker notes: {slides[at].notes}"
        yield {"content": {"node_type": "paragraph", "text": text}, "page": at + 1}


def _words(node: Node) -> str:
    content = node["content"]
    cells = content.get("grid", {}).get("cells", ())
    return str(content.get("text") or (cells[0]["content"] if cells else ""))


def _slide(archive: zipfile.ZipFile, path: str) -> Slide:
    notes = [link for link in _links(archive, path).values() if "/notesSlides/" in link]
    texts = _paragraphs(_root(archive, path))
    return Slide(squeezed=_squeezed("".join(texts)), notes=_spoken(archive, notes[0]) if notes else "")


def _spoken(archive: zipfile.ZipFile, path: str) -> str:
    """Return the text of the notes' body; the other shapes hold the slide's number and picture."""
    said: list[str] = []
    for shape in _root(archive, path).iter(f"{_SHOW}sp"):
        place = next(shape.iter(f"{_SHOW}ph"), None)
        if place is None or place.get("type") == "body":
            said += _paragraphs(shape)
    return "\n".join(filter(None, said))


def _paragraphs(root: ElementTree.Element) -> list[str]:
    return ["".join(run.text or "" for run in p.iter(f"{_TEXT}t")) for p in root.iter(f"{_TEXT}p")]


def _links(archive: zipfile.ZipFile, path: str) -> dict[str, str]:
    folder, name = posixpath.split(path)
    part = f"{folder}/_rels/{name}.rels"
    if part not in archive.namelist():
        return {}
    base = f"/{folder}/"
    return {
        link.get("Id", ""): posixpath.normpath(posixpath.join(base, link.get("Target", ""))).lstrip("/")
        for link in _root(archive, part)
    }


def _root(archive: zipfile.ZipFile, path: str) -> ElementTree.Element:
    if archive.getinfo(path).file_size > _MOST_BYTES:
        raise ValueError(path)
    return ElementTree.fromstring(archive.read(path))


def _squeezed(text: str) -> str:
    return "".join(text.split())
