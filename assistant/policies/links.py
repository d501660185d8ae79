"""Links in text that leaves: found in every spelling a reader's program may follow, kept only to our hosts.

It owns what counts as a link (Markdown, HTML, bare addresses, e-mail, look-alikes and escapes of them)
and which are allowed; it refuses to fetch or to follow. URLs are parsed by pydantic's WHATWG parser, as
a browser would. A file name or path (`settings.py`, `api/v1/readings`) is no link; a bare host without
a path is one if its ending is a common web one or a passage links to it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pydantic_core import Url, ValidationError

REMOVED = "[link removed]"

_JOINERS = "\u200c\u200d"
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
    f"|(?<=[\\x00-\\x7f])[{_JOINERS}]+|[{_JOINERS}]+(?=[\\x00-\\x7f])"
)
_VARIANTS = re.compile("[\ufe00-\ufe0f]")
_DOTS = str.maketrans("。．｡․", "....")
_SLASHES = str.maketrans("⁄∕／＼", "///\\")

_SUSPECT = re.compile(r"[:/\\@%&]|\.\S|dot|[^\x00-\x7f]", re.I)  # any link holds one of these
_END = r"[^\s<>\"'`)\]}|]*"
_LINKS = (
    re.compile(rf"(?P<url>[a-z][a-z0-9+.-]+:[/\\]{{2}}{_END})"),
    re.compile(rf"(?P<url>(?:https?|ftp|wss?):[^\s<>\"'`)\]}}|]{_END}|file:[/\\]{_END})"),
    re.compile(
        rf"(?P<other>(?:javascript|vbscript|blob|tel|sms|callto|skype|sips?|magnet|intent|ms-[a-z-]+):[^\s]{_END}"
        rf"|data:[^\s,]*,{_END})"
    ),
    re.compile(rf"(?P<host>[/\\]{{2,}}[^\s/\\]*[\w-]\.[\w-]{_END})"),
    re.compile(rf"(?P<host>www\d?\.[\w-]{_END})"),
    re.compile(r"(?:mailto:)?[\w.+%-]+@(?P<mail>[\w-]+(?:\.[\w-]+)+)"),
    re.compile(r"(?P<other>mailto:[^\s@]*)(?![^\s@]*@)"),
    re.compile(
        rf"(?<![\w@/\\.-])(?P<host>(?:[\w-]+\.)+(?:[^\W\d_]{{2,}}|xn--[\w-]+)(?:[/\\]|[?#]\w|:\d){_END})"
    ),
)
_BEGINNING = re.compile(r".[^:/\\?#]*[:/\\?#]*")
_MENTION = re.compile(r"(?<![\w@/\\.-])(?:[\w-]+\.)+[^\W\d_]{2,}(?![\w(-]|\.\w)")
_WEB = frozenset("com net org biz edu gov mil xyz icu onion example test ru cn uk de eu fr nl ch pl".split())
_FILES = frozenset(
    """bat bin c cc cfg cjs conf cpp cs css csv db deb diff doc docx env exe gif go gz h hpp htm html ico ini
    ipynb jar java jpeg jpg js json jsonl jsx kt lock log lua md mjs mov odt parquet patch pdf php pkl png ppt
    pptx ps py pyi r rb rpm rs rst rtf scala sh sql svg swift tar tf tgz toml ts tsv tsx txt vue wav webp whl
    xls xlsx xml yaml yml zip zst""".split()
)
_INLINE = re.compile(
    r"(?P<bang>!?)\[(?P<label>(?:[^\[\]]|\[[^\[\]]*\])*)\]"
    r"\(\s*<?(?P<target>[^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?"
    r"(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\)"
)
_INLINE_OR_JOINT = re.compile(rf"{_INLINE.pattern}|\][(:]")
_TAG = re.compile(r"<[a-z!/?][^<>]*[=:][^<>]*(?:>|$)", re.I)
_OPEN_TAG = re.compile(r"<(?=[a-z!/?][^>]*$)", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A link in one spelling of a token: its place there, and the host it leads to, if any."""

    start: int
    end: int
    host: str
    allowed: bool


def visible(text: str) -> str:
    """Return the text without characters that show nothing or reverse what is shown."""
    return _HIDDEN.sub("", text)


class Links:
    """Finds links and takes out those that lead elsewhere than to `hosts` and their subdomains."""

    def __init__(self, hosts: Sequence[str], passages: Iterable[str] = ()) -> None:
        """Remember the hosts.

        Args:
            passages: texts whose links name hosts that may not be mentioned either.
        """
        self._hosts = tuple(host.lower().strip(".") for host in hosts)
        self._mentioned: frozenset[str] = frozenset()
        found = [link for text in passages for token in text.split() for link in self._in_token(token)]
        self._mentioned = frozenset(link.host for link in found if link.host and not link.allowed)

    def redact(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return `text` without links that are not allowed, and the hosts they led to (or `elsewhere`)."""
        removed: dict[str, None] = {}
        before = ""
        clean = visible(text)
        for _ in range(8):
            if clean == before:
                return clean, tuple(removed)
            before = clean
            clean = _INLINE.sub(lambda match: self._inline(match, removed), clean)
            clean = _TAG.sub(lambda match: self._tag(match, removed), clean)
            clean = _OPEN_TAG.sub("< ", clean)
            clean = re.sub(r"\S+", lambda match: self._token(match.group(), removed), clean)
            clean = _INLINE_OR_JOINT.sub(self._joint, clean)
        return REMOVED, (*removed, "elsewhere")

    def _inline(self, match: re.Match[str], removed: dict[str, None]) -> str:
        """Keep a Markdown link to a host of ours; leave the words of any other."""
        target = match["target"]
        if self._follows(target):
            return f"{match['bang']}[{match['label']}]({target})"
        removed[_host(html.unescape(target)) or "elsewhere"] = None
        return match["label"].strip() or REMOVED

    def _joint(self, match: re.Match[str]) -> str:
        """Break what is left of Markdown links and of their definitions, so that no two pieces make one."""
        if match["target"] and self._follows(match["target"]):
            return match.group()
        return re.sub(r"\](?=[(:])", "] ", match.group())

    def _tag(self, match: re.Match[str], removed: dict[str, None]) -> str:
        """Take out HTML with attributes; an autolink in angle brackets is looked at as its address."""
        inner = match.group()[1:].removesuffix(">")
        if not re.search(r"[\s=]", inner):
            return inner if self._follows(inner) else self._token(inner, removed)
        removed["elsewhere"] = None
        return REMOVED

    def _follows(self, target: str) -> bool:
        """Whether a Markdown target is an absolute address of ours, in every spelling."""
        found = list(self._in_token(target))
        return bool(found) and found[0].start == 0 and all(link.allowed for link in found)

    def _token(self, token: str, removed: dict[str, None]) -> str:
        """Replace the links of one run of characters without white space."""
        wrong = [link for link in self._in_token(token) if not link.allowed]
        if not wrong:
            return token
        removed.update(dict.fromkeys(link.host or "elsewhere" for link in wrong))
        plain = list(self._links(_folded(token)))
        ends = [link.end for link in plain if not link.allowed]
        if ends and len(_folded(token)) == len(token):
            end = max(ends)
            start = min(link.start for link in plain if not link.allowed or link.end >= end)
            shorter = f"{token[:start]}{REMOVED}{token[end:]}"
            if all(link.allowed for link in self._in_token(shorter)):
                return shorter
        tail = re.search(r"[.,;:!?)\]]*$", token)
        return REMOVED + (tail.group() if tail and len(tail.group()) < len(token) else "")

    def _in_token(self, token: str) -> Iterator[Found]:
        if not _SUSPECT.search(token):
            return
        for spelling in _spellings(token):
            yield from self._links(spelling)

    def _links(self, spelling: str) -> Iterator[Found]:
        """Yield every link of one spelling, links inside links too."""
        for pattern in _LINKS:
            at = 0
            while match := pattern.search(spelling, at):
                yield self._judged(match)
                at = match.start() + len(_BEGINNING.match(match.group()).group())  # type: ignore[union-attr]
        for match in _MENTION.finditer(spelling):
            name = match.group()
            ending = name.rpartition(".")[2]
            if name in self._mentioned or (ending in _WEB and ending not in _FILES):
                yield Found(start=match.start(), end=match.end(), host=name, allowed=self._ours(name))

    def _judged(self, match: re.Match[str]) -> Found:
        kind = match.lastgroup or "other"
        end = match.start() + len(match.group().rstrip(".,;:!?*_~"))
        text = match.group(kind)
        if kind == "mail":
            return Found(start=match.start(), end=end, host=text, allowed=self._ours(text))
        if kind == "other":
            return Found(start=match.start(), end=end, host="", allowed=False)
        if kind == "host" and _is_file(text):
            return Found(start=match.start(), end=end, host="", allowed=True)
        url = text if kind == "url" else "https://" + text.lstrip("/\\")
        return Found(start=match.start(), end=end, host=_host(url), allowed=self._leads_to_us(url))

    def _leads_to_us(self, url: str) -> bool:
        if not url.isascii() or not url.isprintable() or "\\" in url:
            return False
        try:
            parsed = Url(url.rstrip(".,;:!?*_~"))
        except ValidationError:
            return False
        if parsed.scheme not in ("http", "https") or parsed.username or parsed.password:
            return False
        return self._ours(parsed.host or "")

    def _ours(self, host: str) -> bool:
        name = host.lower().removesuffix(".")
        return any(name == ours or name.endswith(f".{ours}") for ours in self._hosts)


def _is_file(text: str) -> bool:
    """Whether `settings.py:12` or `page.html#top` is meant: a file and a place in it, not host and path."""
    name = re.match(r"[\w.-]+", text)
    ending = name.group().rpartition(".")[2] if name else ""
    return ending in _FILES and re.match(r"[\w.-]+(?:[?#:])", text) is not None


def _host(url: str) -> str:
    try:
        return Url(f"https:{url}" if url.startswith("//") else url).host or ""
    except ValidationError:
        return ""


def _folded(text: str) -> str:
    """One letter for all its look-alike forms: width, case, and the dots and slashes a browser accepts."""
    if text.isascii():
        return text.lower()
    dotted = text.translate(_DOTS).translate(_SLASHES)
    return unicodedata.normalize("NFKC", dotted).translate(_DOTS).translate(_SLASHES).casefold()


def _spellings(token: str) -> Iterator[str]:
    """Yield a token as written and as each layer of escapes would have it."""
    seen: set[str] = set()
    text = token
    for unescape in (str, _unescaped, html.unescape, _unescaped, unquote, unquote, _rearmed):
        text = unescape(text)
        folded = _folded(_VARIANTS.sub("", visible(text)))
        if folded not in seen:
            seen.add(folded)
            yield folded


def _unescaped(text: str) -> str:
    """Take off Markdown's backslashes."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def _rearmed(text: str) -> str:
    """Undo the usual disarming of addresses, which a reader undoes too."""
    return re.sub(r"[\[({](?:\.|dot)[\])}]", ".", text)
