"""Inline Markdown as plain text: emphasis off, code kept in backticks, links as their words.

An absolute link target is kept in brackets after its words, because it may be the fact; images leave
their description. It refuses to interpret anything inside code.
"""

from __future__ import annotations

import html
import re

_HELD = "\ue0ff"  # stands for a piece of code while the words around it are read
_COMMENT = re.compile(r"<!--[^<>]*-->")
_CODE = re.compile(r"(`+[^`]+`+)")
_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(<?([^()\s<>]*)>?(?:\s+\"[^\"]*\")?\)")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]+)>")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|abbr|b|center|code|dd|del|details|div|dl|dt|em|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|pre|s|"
    r"section|small|span|strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_MARK = re.compile(r"[*_~\[<&\\]")
_EMPHASIS = (
    re.compile(r"(?<!\\)\*\*(?=\S)([^*]+(?:\*[^*]+\*[^*]*)?)(?<=\S)\*\*"),
    re.compile(r"(?<![\\\w])__(?=\S)([^_]+)(?<=\S)__(?!\w)"),
    re.compile(r"(?<![\\*\w])\*(?=[^\s*])([^*]+)(?<=[^\s\\])\*(?![*\w])"),
    re.compile(r"(?<![\\_\w])_(?=[^\s_])([^_]+)(?<=[^\s\\])_(?![_\w])"),
    re.compile(r"(?<!\\)~~(?=\S)([^~]+)(?<=\S)~~"),
)
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def plain(text: str) -> str:
    """Return one line of Markdown as the words a reader sees."""
    text = text.replace(_HELD, "")
    codes = _CODE.findall(text)
    if not codes:
        return _words(text).strip()
    kept = iter(codes)
    return re.sub(_HELD, lambda _: next(kept), _words(_CODE.sub(_HELD, text))).strip()


def _words(text: str) -> str:
    if not _MARK.search(text):  # most lines, and the searches below cost more than all else of a page
        return text
    text = _LINK.sub(_link, _COMMENT.sub("", text))
    text = _TAG.sub("", _BREAK.sub(" ", _AUTOLINK.sub(r"\1", text)))
    for mark in _EMPHASIS:
        text = mark.sub(r"\1", text)
    return html.unescape(_ESCAPE.sub(r"\1", text))


def _link(match: re.Match[str]) -> str:
    image, words, target = match.groups()
    if image or words == target or not target.startswith(("http://", "https://", "mailto:")):
        return words
    return f"{words} ({target.removeprefix('mailto:')})"
