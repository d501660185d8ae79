"""20,000 malformed or hostile files through the extractor and the chunker: the loop ends, nothing leaks.

Files are seeded mutations of real ones (bits flipped, cut, spliced, repeated, zeroed, mutated inside their
archive, renamed) and traps (bombs, deep nesting, entities, a million rows). `--quick`: 500 of them. Each
failure must have a name, each text exact offsets; child processes, file descriptors and temporary files are
counted before and after, memory while it runs.
"""

from __future__ import annotations

import gc
import os
import resource
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assistant.errors import IngestError
from assistant.extraction.extract import Extracted, Extractor, Limits
from assistant.retrieval.chunk import chunk
from benchmarks.figures import Figure, Options
from benchmarks.parts.mutations import Hostile, by_kind, hostile, seeds

_OURS = Path(__file__).parents[1] / "tests" / "data"
_FILES, _QUICK = 20_000, 500
_WORKERS = 2
_UNFORESEEN = ("It cannot be read: ", "broke its process", "longer than", "processor time")
_LIMITS = Limits(timeout_s=20, memory_bytes=1 << 30)


class Soak:
    """Counts of outcomes over many files, and the most memory that the worker processes had together."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self.outcomes: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.unnamed: list[str] = []
        self.inexact: list[str] = []
        self.slowest_s = 0.0
        self.peak_bytes = 0
        self._lock = threading.Lock()

    def read(self, file: Hostile) -> None:
        """Read one file as an ingest does, and note how that ended."""
        began = time.monotonic()
        try:
            extracted = self.extractor.extract(file.data, file.uri)
            outcome, wrong = "read", self._wrong(extracted)
        except IngestError as error:
            outcome, wrong = "refused", ""
            with self._lock:
                self.reasons[" ".join(error.message.split()[:4])] += 1
                if not error.message or any(words in error.message for words in _UNFORESEEN):
                    self.unnamed.append(f"{file.uri} ({file.how}): {error.message}")
        except Exception as error:  # noqa: BLE001 - what this looks for
            outcome, wrong = "escaped", f"{type(error).__name__}: {error}"
        with self._lock:
            self.outcomes[outcome] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if wrong:
                self.inexact.append(f"{file.uri} ({file.how}): {wrong}")

    def watch(self, stop: threading.Event) -> None:
        """Sample the resident memory of the worker processes until told to stop."""
        while not stop.wait(0.05):
            self.peak_bytes = max(self.peak_bytes, sum(map(_resident_bytes, self.extractor.pids)))

    def _wrong(self, extracted: Extracted) -> str:
        for part in (extracted, *(member.extracted for member in extracted.members)):
            if part is None:
                continue
            if any(not part.text[block.start : block.end].strip() for block in part.blocks):
                return "a block without text"
            if len(part.text) < 200_000 and any(
                part.text[piece.start : piece.end] != piece.text
                for piece in chunk(part, max_tokens=200, count=lambda text: len(text) // 4 + 1)
            ):
                return "a chunk that is no span of its text"
        return ""


def run(options: Options) -> Iterator[Figure]:
    """Yield the figures of the soak."""
    folders = [_OURS, *(options.data / name for name in ("handbooks", "departments"))]
    groups = by_kind(seeds([folder for folder in folders if folder.is_dir()]))
    count = _QUICK if options.quick else _FILES
    mine = tempfile.mkdtemp()  # so that only files of these processes are counted
    tempfile.tempdir = os.environ["TMPDIR"] = mine
    with Extractor() as extractor:  # what a first PDF unpacks for all is no leak
        extractor.extract((_OURS / "two_pages.pdf").read_bytes(), "two_pages.pdf")
    before = _held()
    began = time.monotonic()
    with Extractor(workers=_WORKERS, limits=_LIMITS) as extractor:
        soak = soaked(extractor, range(count), groups)
        starts = extractor.starts
    took_s = time.monotonic() - began
    after = _held()
    shutil.rmtree(mine)
    tempfile.tempdir = None
    del os.environ["TMPDIR"]
    for line in (*soak.unnamed[:60], *soak.inexact[:20]):
        print(f"# {line}", flush=True)
    print(f"# {dict(soak.outcomes)} {dict(soak.reasons.most_common(40))}", flush=True)
    yield Figure(figure="hostile files", value=sum(soak.outcomes.values()), unit="files", at_least=count)
    yield Figure(figure="read all the same", value=soak.outcomes["read"], unit="files")
    yield Figure(figure="refused with a reason", value=soak.outcomes["refused"], unit="files")
    yield Figure(figure="errors that escaped", value=soak.outcomes["escaped"], unit="files", at_most=0)
    yield Figure(
        figure="refused by a limit, a death or an unforeseen error", value=len(soak.unnamed), unit="files"
    )
    yield Figure(figure="texts with wrong offsets", value=len(soak.inexact), unit="files", at_most=0)
    yield Figure(figure="processes started", value=starts, unit="processes")
    yield Figure(figure="slowest file", value=round(soak.slowest_s, 1), unit="s")
    yield Figure(figure="time of all", value=round(took_s, 1), unit="s")
    for name in ("child processes", "file descriptors", "temporary files"):
        yield Figure(figure=f"{name} left over", value=after[name] - before[name], unit=name, at_most=0)
    bound = _WORKERS * _LIMITS.memory_bytes / 2**20
    peak = round(soak.peak_bytes / 2**20)
    yield Figure(figure="peak memory of the workers together", value=peak, unit="MiB", at_most=bound)
    own = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    yield Figure(figure="peak memory of the parent, which makes the files too", value=own, unit="MiB")


def soaked(
    extractor: Extractor, numbers: Sequence[int], groups: Sequence[Sequence[tuple[str, bytes]]]
) -> Soak:
    """Have the files of some numbers read by as many threads as there are workers."""
    soak, stop = Soak(extractor), threading.Event()
    watcher = threading.Thread(target=soak.watch, args=(stop,))
    watcher.start()
    try:
        with ThreadPoolExecutor(_WORKERS) as threads:
            for _ in threads.map(lambda number: soak.read(hostile(number, groups)), numbers):
                pass
    finally:
        stop.set()
        watcher.join()
    return soak


def _held() -> dict[str, int]:
    gc.collect()
    return {
        "child processes": len(_children()),
        "file descriptors": len(os.listdir("/proc/self/fd")),
        "temporary files": len(list(Path(tempfile.gettempdir()).rglob("*"))),
    }


def _children() -> list[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
