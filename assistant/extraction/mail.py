"""Mails as text: headers first, then what was written, then what was quoted; attachments beside it.

It owns the reading of RFC 5322 messages and of Outlook's own files, their character sets and their
threads: each quoted message stands under a heading that says whose it is. It refuses to read attachments,
and never looks a remote image up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import partial

from assistant.errors import IngestError
from assistant.extraction.archive import Content, Names
from assistant.extraction.decode import decode_as
from assistant.extraction.extracted import Builder
from assistant.extraction.outlook import open_message
from assistant.extraction.thread import read_thread

_SAID = ("From", "To", "Cc", "Date", "Subject")
_LONGEST_HEADER = 10_000
ReadPage = Callable[[str, Builder], None]


@dataclass(slots=True, kw_only=True)
class _Mail:
    """A mail taken apart; bodies in the order in which they stand."""

    said: dict[str, str]
    plain: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    attached: list[tuple[str, bytes]] = field(default_factory=list)


def read_mail(data: bytes, kind: str, builder: Builder, read_page: ReadPage) -> Iterator[Content]:
    """Append a mail to `builder` and return its attachments.

    Args:
        kind: "eml" or "msg".
        read_page: appends an HTML page to a builder, for mails without a plain text.

    Raises:
        IngestError: damaged.
    """
    mail = _outlook(data) if kind == "msg" else _internet(data)
    builder.title = mail.said.get("Subject") or None
    builder.dated = _iso(mail.said.get("Date", ""))
    lines = [f"{name}: {mail.said[name]}" for name in _SAID if mail.said.get(name)]
    if builder.dated and "Date" in mail.said:
        lines = [
            f"Date: {_minute(mail.said['Date'])}" if line.startswith("Date: ") else line for line in lines
        ]
    lines += [f"Attachments: {', '.join(name for name, _ in mail.attached)}"] if mail.attached else []
    builder.add("paragraph", "\n".join(lines))
    if any(text.strip() for text in mail.plain):
        for text in mail.plain:
            read_thread(text, builder)
    else:
        for page in mail.pages:
            read_page(page, builder)
    names = Names()
    return iter([(names.unique(name), partial(bytes, content)) for name, content in mail.attached])


def _internet(data: bytes) -> _Mail:
    try:
        message = message_from_bytes(data, policy=policy.compat32)
        mail = _Mail(said={name: _header(message.get(name)) for name in _SAID})
        for part in _parts(message):
            _sort(part, mail)
    except (LookupError, ValueError, AttributeError, TypeError, AssertionError, RecursionError) as error:
        raise IngestError(f"The mail is damaged: {type(error).__name__}: {str(error)[:100]}.") from error
    return mail


def _outlook(data: bytes) -> _Mail:
    said, plain, page, attached = open_message(data)
    words = {name: _header(value) for name, value in said.items()}
    return _Mail(said=words, plain=[plain], pages=[page] if page else [], attached=attached)


def _parts(message: Message) -> Iterator[Message]:
    """Yield the parts that hold something; a mail inside a mail is one part."""
    payload = message.get_payload()
    if message.get_content_maintype() != "multipart" or not isinstance(payload, list):
        yield message
        return
    for part in payload:
        if isinstance(part, Message):
            yield from _parts(part)


def _sort(part: Message, mail: _Mail) -> None:
    kind, name = part.get_content_type(), _header(part.get_filename())
    attached = bool(name) or part.get_content_disposition() == "attachment"
    if kind == "message/rfc822":
        payload = part.get_payload()
        first = payload[0] if isinstance(payload, list) and payload else part
        inner = first if isinstance(first, Message) else part
        mail.attached.append(
            (f"{_header(inner.get('Subject')) or 'mail'}.eml".replace("/", "-"), bytes(inner))
        )
        return
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes) or not content:
        return
    if not attached and kind in ("text/plain", "text/html"):
        text = decode_as(content, part.get_content_charset())
        (mail.plain if kind == "text/plain" else mail.pages).append(text)
    elif attached and not (part.get("Content-ID") and kind.startswith("image/")):
        mail.attached.append(((name or "attachment").replace("/", "-"), content))


def _header(value: object) -> str:
    """Return a header's words, whatever they were encoded with."""
    if value is None:
        return ""
    words: list[str] = []
    try:
        for piece, charset in decode_header(" ".join(str(value)[:_LONGEST_HEADER].splitlines())):
            words.append(piece if isinstance(piece, str) else decode_as(piece, charset))
    except (ValueError, LookupError, TypeError):
        return " ".join(str(value).split())
    return " ".join("".join(words).split())


def _iso(said: str) -> str | None:
    """Return the day of a mail's date."""
    try:
        return parsedate_to_datetime(said).date().isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _minute(said: str) -> str:
    return parsedate_to_datetime(said).strftime("%Y-%m-%d %H:%M")
