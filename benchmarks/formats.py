"""The same text in four formats must be the same words; no page may lose words; citations must be exact.

The organisation's handbook in `handbooks/opengov_hr` is read as Markdown, HTML, Word and PDF, and word
sequences are compared with Markdown's; the PDFs of `departments` are compared with their pages' plain text,
but for running lines. Every file of both folders is cut as an ingest cuts it: a chunk must be what stands
at its offsets in the stored text, and with its title path within what the embedder takes. `--quick` leaves
out the largest PDFs.
"""

from __future__ import annotations

import difflib
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from assistant.config import Retrieval
from assistant.errors import IngestError
from assistant.extraction.extract import Extracted, Extractor
from assistant.extraction.running import Running
from assistant.retrieval.chunk import chunk, shortened
from assistant.retrieval.embed import Embedder
from assistant.store.records import title_path
from benchmarks.figures import ROOT, Figure, Options

_WORD = re.compile(r"\w+")
_LINK = re.compile(r" \(https?://[^\s()]*\)")  # Markdown and HTML keep a link's target, the others have none
_HYPHEN = re.compile("[-\x02](?:\r?\n)?")
FOLDERS = ("departments", "handbooks")
_FORMATS = {"html": "html", "docx": "docx", "pdf": "pdf"}
_LARGE_BYTES = 3 << 20


def run(options: Options) -> Iterator[Figure]:
    """Yield agreement between formats, words kept of PDF pages, exactness and speed."""
    handbook = options.data / "handbooks" / "opengov_hr"
    if not handbook.is_dir():
        yield Figure(figure="formats", value=None, unit="share", skipped=f"{handbook} is not there")
        return
    with Extractor() as extractor:
        yield from _agreement(extractor, handbook)
        yield from _kept(extractor, options)
        yield from _chunks(extractor, options)


def _agreement(extractor: Extractor, handbook: Path) -> Iterator[Figure]:
    found: dict[str, list[float]] = {}
    for source in sorted((handbook / "markdown").glob("*.md")):
        wanted = _words(_read(extractor, source))
        for folder, suffix in _FORMATS.items():
            words = _words(_read(extractor, handbook / folder / f"{source.stem}.{suffix}"))
            match = difflib.SequenceMatcher(None, wanted, words, autojunk=False)
            found.setdefault(suffix, []).append(match.ratio())
    for suffix, shares in found.items():
        share = round(min(shares), 4)
        yield Figure(figure=f"words in sequence, {suffix} as md", value=share, unit="share", at_least=0.99)


def _kept(extractor: Extractor, options: Options) -> Iterator[Figure]:
    from kreuzberg import ExtractionConfig, PageConfig, extract_bytes_sync

    config = ExtractionConfig(use_cache=False, disable_ocr=True, pages=PageConfig(extract_pages=True))
    wrong, pages, took_s, lowest = 0, 0, 0.0, 1.0
    for file in sorted((options.data / "departments").glob("*/*.pdf")):
        if options.quick and file.stat().st_size > _LARGE_BYTES:
            continue
        began = time.perf_counter()
        extracted = _read(extractor, file)
        took_s += time.perf_counter() - began
        printed = extract_bytes_sync(file.read_bytes(), "application/pdf", config).pages or []
        running = Running(printed)
        plain = Counter(word for page in printed for word in _parts(str(running.page(page)["content"])))
        missing = (plain - Counter(_parts(extracted.text))).total()
        lowest = min(lowest, 1 - missing / plain.total())
        pages += len(extracted.pages)
        wrong += sum(not extracted.text[b.start : b.end].strip() for b in extracted.blocks)
    figure = "words kept of a PDF's plain text, the worst"
    yield Figure(figure=figure, value=round(lowest, 4), unit="share", at_least=0.95)
    yield Figure(figure="blocks without text", value=wrong, unit="blocks", at_most=0)
    yield Figure(figure="PDF pages read in one process", value=round(pages / took_s, 1), unit="pages/s")


def _chunks(extractor: Extractor, options: Options) -> Iterator[Figure]:
    embedder = Embedder.load(ROOT / "var" / "models" / "all-minilm-l6-v2")
    count, longest, size = embedder.count_tokens, embedder.max_tokens, Retrieval().chunk_tokens
    total, wrong, largest = 0, 0, 0
    for file in sorted(file for name in FOLDERS for file in (options.data / name).rglob("*.*")):
        if not file.is_file() or (options.quick and file.stat().st_size > _LARGE_BYTES):
            continue
        try:
            extracted = _read(extractor, file)
        except IngestError:
            continue  # empty, or of a kind that is not read
        title = shortened(extracted.title, longest // 4, count)
        for piece in chunk(extracted, max_tokens=size, count=count, title=title, longest=longest):
            total += 1
            wrong += extracted.text[piece.start : piece.end] != piece.text or not piece.text.strip()
            largest = max(largest, count(f"{title_path(title, piece.headings)}\n{piece.text}"))
    yield Figure(
        figure="chunks that are not what stands at their offsets", value=wrong, unit=f"of {total}", at_most=0
    )
    yield Figure(figure="title path and chunk, the longest", value=largest, unit="tokens", at_most=longest)


def _read(extractor: Extractor, file: Path) -> Extracted:
    return extractor.extract(file.read_bytes(), file.name)


def _parts(text: str) -> list[str]:
    """Return words, those with a hyphen or broken at the end of a line as one."""
    return _WORD.findall(_HYPHEN.sub("", text))


def _words(extracted: Extracted) -> list[str]:
    return _WORD.findall(_LINK.sub("", extracted.text).lower())
