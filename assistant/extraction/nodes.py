"""kreuzberg's document nodes as blocks.

It owns what each kind of node becomes and mends what the extraction of a format is known to do wrong
(lines of PDF paragraphs, headings run together); offsets are ours, never kreuzberg's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assistant.extraction.extracted import Builder
from assistant.extraction.headings import with_headings
from assistant.extraction.pdf import complete, is_prose
from assistant.extraction.pdflines import Mender
from assistant.extraction.running import Running
from assistant.extraction.table import add_table

Node = Mapping[str, Any]
_LONG_ITEM = 400


def read_nodes(
    nodes: Sequence[Node], builder: Builder, *, pages: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Append every node that holds text to `builder`.

    Args:
        pages: the plain text of each page, for a PDF: line ends inside its paragraphs are the page's.
    """
    if pages is None:
        _read(with_headings(nodes, guessed=False), nodes, builder, None)
        return
    running = Running(pages, nodes)
    pages = [running.page(page) for page in pages]
    own = with_headings(list(running.nodes(nodes)), guessed=True)
    _read(complete(own, pages), nodes, builder, Mender(pages, _text_width(nodes)))


def _read(sequence: Sequence[Node], nodes: Sequence[Node], builder: Builder, mender: Mender | None) -> None:
    """Append nodes in the order of `sequence`; `nodes` are all of them, as their parents are counted."""
    items: list[str] = []
    page: int | None = None
    for node in sequence:
        kind = node["content"]["node_type"]
        text, marker = str(node["content"].get("text") or ""), ""
        if mender and kind != "code":
            text, marker = mender.mended(node, text)
        if kind == "list_item" and len(text) <= _LONG_ITEM and not (mender and "\n" in text):
            page = page if items else node.get("page")
            items.append(_item(nodes, node, " ".join(text.split()), marker))
            continue
        if kind in ("list", "group", "quote"):
            continue
        builder.add("list", "\n".join(items), page=page)
        items = []
        _add(builder, node, kind, marker + text, mender)
    builder.add("list", "\n".join(items), page=page)


def _add(builder: Builder, node: Node, kind: str, text: str, mender: Mender | None) -> None:
    content, page = node["content"], node.get("page")
    if kind == "heading":
        _add_heading(builder, text, int(content.get("level") or 1), page)
    elif kind == "table" and mender and is_prose(_grid(content["grid"])):
        prose = "\n".join(" ".join(row).strip() for row in _grid(content["grid"]))
        builder.add("paragraph", mender.mended(node, prose)[0], page=page)
    elif kind == "table":
        add_table(builder, _grid(content["grid"]), explicit_header=False, page=page)
    elif kind == "code":
        builder.add("code", text, page=page)
    elif kind == "metadata_block":
        lines = [f"{key}: {value}" for key, value in content.get("entries", ())]
        builder.add("paragraph", "\n".join(lines), page=page)
    elif kind == "definition_item":
        builder.add("paragraph", f"{content.get('term', '')}: {content.get('definition', '')}", page=page)
    elif kind == "image":
        builder.add("paragraph", str(content.get("description") or ""), page=page)
    else:
        builder.add("paragraph", text, page=page)


def _add_heading(builder: Builder, text: str, level: int, page: int | None) -> None:
    """Add a heading; a title that ran into the first heading is taken apart again."""
    title = " ".join((builder.title or "").split())
    flat = " ".join(text.split())
    if title and flat != title and flat.startswith(f"{title} "):
        builder.add("heading", title, level=level, page=page)
        flat = flat.removeprefix(title).strip()
    builder.add("heading", flat, level=level, page=page)


def _item(nodes: Sequence[Node], node: Node, text: str, marker: str) -> str:
    """Return a list item with its marker, indented by its depth; the marker as on its page where known."""
    parents: list[Node] = []
    parent = node.get("parent")
    while parent is not None and len(parents) < 16:
        parents.append(nodes[parent])
        parent = nodes[parent].get("parent")
    lists = [p for p in parents if p["content"]["node_type"] == "list"]
    if marker:
        return f"{'  ' * max(len(lists) - 1, 0)}{marker}{text}"
    marker = "-"
    if lists and lists[0]["content"].get("ordered"):
        siblings = [nodes[i] for i in lists[0].get("children", ())]
        own = [n["id"] for n in siblings if n["content"]["node_type"] == "list_item"]
        marker = f"{own.index(node['id']) + 1}." if node["id"] in own else "-"
    return f"{'  ' * max(len(lists) - 1, 0)}{marker} {text}"


def _grid(grid: Mapping[str, Any]) -> list[list[str]]:
    rows = [[""] * int(grid["cols"]) for _ in range(int(grid["rows"]))]
    for cell in grid["cells"]:
        if cell["row"] < len(rows) and cell["col"] < len(rows[0]):
            rows[cell["row"]][cell["col"]] = str(cell["content"])
    return rows


def _text_width(nodes: Sequence[Node]) -> int:
    """Return the length of a full line of body text, in characters; at least 40."""
    lengths = sorted(
        len(line) for node in nodes for line in str(node["content"].get("text") or "").split("\n") if line
    )
    return max(40, lengths[len(lengths) * 19 // 20]) if lengths else 40
