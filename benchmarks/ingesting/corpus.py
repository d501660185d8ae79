"""The documents that all sides ingest: the public handbooks and the departments' PDFs.

Only the formats that every side reads in its usual way are taken: Markdown, text and PDF.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_SUFFIXES = frozenset({".md", ".txt", ".pdf"})
_QUICK_EVERY = 48


def files(data: Path, *, quick: bool) -> list[Path]:
    """Return the files of the corpus, in order; `quick` takes every 48th page and the smallest report.

    Raises:
        FileNotFoundError: the folder of public data does not hold them.
    """
    pages = sorted(file for file in (data / "handbooks").rglob("*") if file.suffix in _SUFFIXES)
    reports = sorted((data / "departments").rglob("*.pdf"))
    if not pages or not reports:
        raise FileNotFoundError(f"{data} holds no handbooks/ and departments/: give --data DIR")
    return (
        [*pages[::_QUICK_EVERY], min(reports, key=lambda file: file.stat().st_size)]
        if quick
        else [*pages, *reports]
    )


def copied(found: list[Path], data: Path, folder: Path, *, times: int = 1) -> Path:
    """Lay the files out in `folder`, several times over with a line of their own, and return it.

    The copies of a PDF keep its bytes.
    """
    for number in range(times):
        for file in found:
            target = folder / f"copy-{number}" / file.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            if number and file.suffix != ".pdf":
                text = file.read_text(encoding="utf-8", errors="replace")
                target.write_text(f"{text}\n\nCopy {number}.\n", encoding="utf-8")
            else:
                shutil.copyfile(file, target)
    return folder
