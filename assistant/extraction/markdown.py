"""Markdown as blocks, read line by line so that nothing of it is lost.

It owns front matter and the block structure of the usual dialects (headings, lists, pipe tables, fenced
and indented code, quotes); inline marks are taken off and links keep their text, with the target where
it is absolute. It refuses to render: unknown constructs stay as the text they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date

from assistant.extraction.extracted import Builder
from assistant.extraction.inline import plain
from assistant.extraction.table import add_table

_FENCE = re.compile(r"( *)(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$")
_ITEM = re.compile(r"([ \t]*)([-*+]|\d{1,9}[.)])(?:[ \t]+(.*)|$)")
_QUOTE = re.compile(r" {0,3}(?:> ?)+")
_CELL_END = re.compile(r"(?<!\\)\|")


def read_markdown(text: str, builder: Builder, *, front_matter: bool = True) -> None:
    """Append the blocks of a Markdown text to `builder`, and what its front matter says."""
    body = text.replace("\r\n", "\n").replace("\r", "\n")
    if front_matter:
        body = _front_matter(body, builder)
    _Reader(builder=builder, lines=body.expandtabs(4).split("\n")).read()


@dataclass(slots=True, kw_only=True)
class _Reader:
    """One pass over the lines; `paragraph` and `items` are what is open."""

    builder: Builder
    lines: list[str]
    at: int = 0
    paragraph: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    blank: bool = True
    last_comment_end: int = -1

    def read(self) -> None:
        ends = (at for at in range(len(self.lines) - 1, -1, -1) if "-->" in self.lines[at])
        self.last_comment_end = next(ends, -1)
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if not self._code(line):
                self._line(_QUOTE.sub("", line, count=1) if line.lstrip().startswith(">") else line)
        self._close()

    def _line(self, line: str) -> None:
        self.at += 1
        if not line.strip() or self._comment(line):
            self._blank()
        elif self.paragraph and (underline := _UNDERLINE.match(line)):
            heading, self.paragraph = " ".join(self.paragraph), []
            self._heading(heading, 1 if underline.group(1)[0] == "=" else 2)
        elif _RULE.match(line):
            self._close()
        elif heading_line := _HEADING.match(line):
            self._heading(heading_line.group(2).rstrip("# \t"), len(heading_line.group(1)))
        elif self._is_table(line):
            self._table(line)
        elif item := _ITEM.match(line):
            self._item(*item.groups())
        elif self.items and (not self.blank or line.startswith("  ")):
            self.items[-1] += f" {plain(line.strip())}"
            self.blank = False
        else:
            self._close_items()
            self.paragraph.append(line.strip())
            self.blank = False

    def _comment(self, line: str) -> bool:
        """Skip a comment that begins this line and ends one; an open one stays as text."""
        if not line.lstrip().startswith("<!--"):
            return False
        for end in range(self.at - 1, self.last_comment_end + 1):
            if "-->" in self.lines[end]:
                self.at = end + 1
                return self.lines[end].rstrip().endswith("-->")
        return False

    def _blank(self) -> None:
        self._close_paragraph()
        self.blank = True

    def _heading(self, text: str, level: int) -> None:
        self._close()
        self.builder.add("heading", plain(" ".join(text.split())), level=level)

    def _item(self, indent: str, marker: str, text: str | None) -> None:
        if self.paragraph and marker[0].isdigit() and marker[:-1] != "1":
            self.paragraph.append(f"{marker} {text or ''}".strip())  # a line that begins with a number
            return
        self._close_paragraph()
        sign = "-" if marker in "-*+" else marker
        self.items.append(f"{indent}{sign} {plain(text or '')}")
        self.blank = False

    def _is_table(self, line: str) -> bool:
        following = self.lines[self.at].strip() if self.at < len(self.lines) else ""
        return "|" in line and "-" in following and "|" in following and set(following) <= set("|:- ")

    def _table(self, line: str) -> None:
        self._close()
        rows = [_cells(line)]
        self.at += 1
        while self.at < len(self.lines) and "|" in self.lines[self.at]:
            rows.append(_cells(self.lines[self.at]))
            self.at += 1
        add_table(self.builder, rows, explicit_header=any(rows[0]))

    def _code(self, line: str) -> bool:
        """Take a fenced or indented code block that begins at this line."""
        fence = _FENCE.match(line)
        if fence and "`" not in line[fence.end() :]:
            self._fenced(fence.group(1), fence.group(2))
            return True
        if line.startswith("    ") and line.strip() and self.blank and not (self.items or self.paragraph):
            self._indented()
            return True
        return False

    def _fenced(self, indent: str, fence: str) -> None:
        self._close()
        self.at += 1
        code: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if line.strip().startswith(fence) and not line.strip(f" {fence[0]}"):
                break
            code.append(line.removeprefix(indent))
        self.builder.add("code", "\n".join(code))

    def _indented(self) -> None:
        code: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and not line.startswith("    "):
                break
            code.append(line[4:])
            self.at += 1
        self.builder.add("code", "\n".join(code))

    def _close_paragraph(self) -> None:
        self.builder.add("paragraph", plain(" ".join(" ".join(self.paragraph).split())))
        self.paragraph = []

    def _close_items(self) -> None:
        self.builder.add("list", "\n".join(self.items))
        self.items = []

    def _close(self) -> None:
        self._close_items()
        self._close_paragraph()
        self.blank = True


def _cells(line: str) -> list[str]:
    line = line.strip().removeprefix("|")
    cells = _CELL_END.split(line)
    if len(cells) > 1 and not cells[-1].strip():
        cells.pop()
    return [plain(cell.replace("\\|", "|")) for cell in cells]


def _front_matter(text: str, builder: Builder) -> str:
    """Take the YAML between two lines of dashes off the top, and remember what it says."""
    text = text.removeprefix("\ufeff")
    if not text.startswith("---\n"):
        return text
    head, found, body = text[4:].partition("\n---")
    if not found or (body and body[0] not in "\n "):
        return text
    data = _yaml(head)
    if not isinstance(data, dict):
        return text
    said = {str(key).lower(): scalar(value) for key, value in data.items()}
    builder.title = said.pop("title", "") or None
    builder.supersedes = said.pop("supersedes", "") or None
    builder.language = said.pop("lang", "") or said.pop("language", "") or None
    tell(builder, said)
    return body.partition("\n")[2]


def _yaml(text: str) -> object:
    """Return what a YAML text says; None if it says nothing, or means to expand without end."""
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            return None
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def tell(builder: Builder, said: dict[str, str]) -> None:
    """Keep the date, and the rest of what a document says of itself as its first line."""
    builder.dated = iso_date(said.get("date") or said.get("dated") or "")
    line = " | ".join(f"{key.capitalize()}: {value}" for key, value in said.items() if value)
    builder.add("paragraph", line)


def scalar(value: object) -> str:
    """Return a front matter value as text; lists are joined, anything deeper is left out."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(scalar, value)))
    return "" if value is None or isinstance(value, dict) else str(value).strip()


def iso_date(text: str) -> str | None:
    """Return the ISO date at the start of `text`, if there is one."""
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return None
