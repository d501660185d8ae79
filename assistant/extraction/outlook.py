"""Outlook's message files, opened stream by stream ([MS-OXMSG], [MS-CFB]).

It owns where Outlook keeps headers, bodies and attachments; it refuses anything else in the file.
"""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.utils import format_datetime
from typing import Any

from assistant.errors import IngestError
from assistant.extraction.decode import decode_as

_SUBJECT, _SENDER, _SENDER_SMTP, _TO, _CC = 0x0037, 0x0C1A, 0x5D01, 0x0E04, 0x0E03
_BODY, _PAGE, _HEADERS, _SUBMITTED = 0x1000, 0x1013, 0x007D, 0x00390040
_CONTENT, _LONG_NAME, _SHORT_NAME = 0x3701, 0x3707, 0x3704
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


def open_message(data: bytes) -> tuple[dict[str, str], str, str, list[tuple[str, bytes]]]:
    """Return headers by name, plain body, HTML body, and attachments of a message.

    Raises:
        IngestError: damaged.
    """
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as file:
            page = _bytes(file, "", _PAGE)
            html = decode_as(page, None) if page else _text(file, "", _PAGE)
            return _said(file), _text(file, "", _BODY), html, _attachments(file)
    except (OSError, ValueError, IndexError, TypeError, AttributeError, KeyError, struct.error) as error:
        raise IngestError(f"The message is damaged: {str(error)[:100]}.", remedy="Save it again.") from error


def _said(file: Any) -> dict[str, str]:  # noqa: ANN401 - olefile has no types
    sender = " ".join(filter(None, (_text(file, "", _SENDER), _bracketed(_text(file, "", _SENDER_SMTP)))))
    said = {
        "Subject": _text(file, "", _SUBJECT),
        "From": sender,
        "To": _text(file, "", _TO),
        "Cc": _text(file, "", _CC),
        "Date": _submitted(file),
    }
    headers = message_from_string(_text(file, "", _HEADERS))
    for name in said:
        if name != "Subject" and (value := str(headers.get(name) or "")):
            said[name] = value
    return said


def _bracketed(address: str) -> str:
    return f"<{address}>" if address else ""


def _attachments(file: Any) -> list[tuple[str, bytes]]:  # noqa: ANN401
    folders = sorted({path[0] for path in file.listdir() if path[0].startswith("__attach_version1.0_")})
    found = []
    for folder in folders:
        content = _bytes(file, folder, _CONTENT)
        name = _text(file, folder, _LONG_NAME) or _text(file, folder, _SHORT_NAME) or "attachment"
        if content:
            found.append((name.replace("/", "-"), content))
    return found


def _text(file: Any, folder: str, tag: int) -> str:  # noqa: ANN401
    if (wide := _stream(file, folder, f"{tag:04X}001F")) is not None:
        return wide.decode("utf-16-le", errors="replace").rstrip("\0")
    narrow = _stream(file, folder, f"{tag:04X}001E")
    return "" if narrow is None else decode_as(narrow, None).rstrip("\0")


def _bytes(file: Any, folder: str, tag: int) -> bytes:  # noqa: ANN401
    return _stream(file, folder, f"{tag:04X}0102") or b""


def _stream(file: Any, folder: str, name: str) -> bytes | None:  # noqa: ANN401
    path = [part for part in (folder, f"__substg1.0_{name}") if part]
    return bytes(file.openstream(path).read()) if file.exists(path) else None


def _submitted(file: Any) -> str:  # noqa: ANN401
    """Return when the message was sent, from the fixed properties: 16 bytes each after a head of 32."""
    path = "__properties_version1.0"
    properties = file.openstream(path).read() if file.exists(path) else b""
    for at in range(32, len(properties) - 15, 16):
        tag, _, ticks = struct.unpack_from("<IIQ", properties, at)
        if tag == _SUBMITTED:
            return format_datetime(_EPOCH + timedelta(microseconds=ticks // 10))
    return ""
