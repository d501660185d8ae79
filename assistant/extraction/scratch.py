"""The one folder that worker processes may write to: the user's own, the same for every run.

kreuzberg 4.10 unpacks the library that reads PDFs there, once. It owns that nobody else can put another one
in its place, as could happen in a temporary folder that all users share; nothing else is ever written.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from assistant.errors import IngestError


def private_folder() -> str:
    """Return the path of the folder, made if it is missing.

    Raises:
        IngestError: it belongs to somebody else, or others may write to it.
    """
    folder = Path(tempfile.gettempdir(), f"assistant-extract-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise IngestError(
            f"{folder} cannot be made: {error}.", remedy="Set TMPDIR to a folder of yours."
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise IngestError(f"{folder} is not this user's alone.", remedy="Remove it, or set TMPDIR.")
    return str(folder)
