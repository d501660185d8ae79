"""One ingest at a time for each source; several sources side by side. It holds nothing else."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.errors import SourceBusy


@contextmanager
def held(source: str, folder: Path) -> Iterator[None]:
    """Hold the source's lock file in `folder`; the operating system lets go of it when the process ends.

    Raises:
        SourceBusy: another ingest of this source is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"ingest-{re.sub(r'[^A-Za-z0-9_-]', '_', source)}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SourceBusy(
                f"Another ingest of {source} is running.", remedy="Wait for it to end, then try again."
            ) from None
        yield
