"""Who wrote what in a mail: each quoted message under a heading that names its writer.

It owns the marks by which mail programs introduce the words of others; it refuses to drop any word.
"""

from __future__ import annotations

import re

from assistant.extraction.extracted import Builder
from assistant.extraction.pdflines import rejoined

_QUOTE = re.compile(r"[ \t]*((?:>[ \t]?)+)")
_WROTE = re.compile(  # "On …, … wrote:" in the languages that the usual programs speak
    r"(?:on|am|le|el|il|op|den|em|w dniu|kl\.) .{6,200}(?:wrote|schrieb|a écrit|escribió|ha scritto|schreef|"
    r"skrev|escreveu|napisał\(?a?\)?)(?: .{0,80})?\s*:",
    re.IGNORECASE,
)
_FORWARDED = re.compile(
    r"[-_]{3,}[ \t]*.{0,60}(?:original|forwarded|weitergeleitete|transféré|reenviado|vidarebefordrat)"
    r".{0,60}?[-_]{3,}",
    re.IGNORECASE,
)
_FROM = re.compile(r"\*?(?:from|von|de|da|van|från|fra|od):\*? .+", re.IGNORECASE)
_SENT = re.compile(
    r"\*?(?:sent|date|to|gesendet|datum|an|envoyé|date|à|enviado|para|inviato|a|verzonden|aan|skickat|till|"
    r"sendt|dato|til|wysłano|do):\*? ?.*",
    re.IGNORECASE,
)
_WIDTH = 72  # at which mail programs break lines, in characters
_LONGEST = 300


def read_thread(text: str, builder: Builder) -> None:
    """Append the plain body of a mail: paragraphs, and a heading before each message it quotes."""
    lines = text.replace("\r\n", "\n").split("\n")
    paragraph: list[str] = []
    depth, at = 0, 0
    while at < len(lines):
        line, deeper = _unquoted(lines[at])
        following = [_unquoted(more)[0].strip() for more in lines[at + 1 : at + 3]]
        heading = _introduction(line.strip(), following)
        if paragraph and (heading or deeper != depth or not line.strip()):
            builder.add("paragraph", rejoined("\n".join(paragraph), _WIDTH))
            paragraph = []
        depth = deeper
        if heading:
            said = ", ".join([line.strip(), *following[: heading - 1]])
            builder.add("heading", said, level=min(2 + deeper, 6))
        elif line.strip():
            paragraph.append(line)
        at += heading or 1
    builder.add("paragraph", rejoined("\n".join(paragraph), _WIDTH))


def _introduction(line: str, following: list[str]) -> int:
    """Return how many lines, from this one on, say whose words follow; 0 if none."""
    if not line or len(line) > _LONGEST:
        return 0
    if _FORWARDED.fullmatch(line) or _WROTE.fullmatch(line):
        return 1
    if following and len(following[0]) <= _LONGEST:
        if _FROM.fullmatch(line) and _SENT.fullmatch(following[0]):
            return 2
        if following[0] and _WROTE.fullmatch(f"{line} {following[0]}"):
            return 2
    return 0


def _unquoted(line: str) -> tuple[str, int]:
    mark = _QUOTE.match(line)
    return (line[mark.end() :], mark.group(1).count(">")) if mark else (line, 0)
