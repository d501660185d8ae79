"""What the standard library raises over a damaged archive.

It owns the list, because no base class does; it refuses nothing.
"""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from xml.etree.ElementTree import ParseError

BROKEN: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError, KeyError, IndexError, ParseError),
)
