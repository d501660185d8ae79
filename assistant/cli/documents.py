"""`assistant documents`: what the workspace holds, who may see it and why, and removing it for good.

Without `--as` these speak for the operator of this machine, who sees everything; with it they see what
that person sees, and a document that may not be read looks like one that is not there.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from assistant.cli.command import group, opened, operator
from assistant.cli.output import print_json, print_table, wrapped

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.removal import Removal
    from assistant.store.likenesses import Alike
    from assistant.store.readable import Readable
    from assistant.types import Chunk, Document, Labels

_PAGE = 1_000
_FIRST_WORDS = 60


def arguments(parser: ArgumentParser) -> None:
    """Declare `documents list|show|why|remove`."""
    group(
        parser,
        {
            "list": ("list the documents, with who may read them", _list_arguments, list_),
            "show": ("show a document: where it is from, who may read it, its chunks", _show_arguments, show),
            "why": ("say why a person may read a document, or may not", _why_arguments, why),
            "remove": ("remove documents; the very next question cannot see them", _remove_arguments, remove),
        },
    )


def _list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--source", metavar="NAME", help="of this source only")
    parser.add_argument("--as", dest="user", metavar="USER", help="only what this person may read")


def _show_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("document", metavar="ID", help="a document's id, or its path in the source")
    parser.add_argument("--as", dest="user", metavar="USER", help="as this person, if they may read it")
    parser.add_argument("--text", action="store_true", help="with the whole text that chunks are cut from")


def _why_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("document", metavar="ID", help="a document's id, or its path in the source")
    parser.add_argument("--as", dest="user", metavar="USER", required=True, help="a person of people.yaml")


def _remove_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "documents", metavar="ID", nargs="+", help="document ids, or their paths in the source"
    )


def list_(args: Namespace) -> int:
    """Print the living documents."""
    app = opened(args)
    documents = tuple(_pages(_view(app, args.user), args.source))
    likenesses = app.documents.likenesses(_permitted(app, args.user))
    newer = likenesses.newer(documents)
    documents = tuple(
        replace(each, superseded_by=newer[each.id].id if each.id in newer else None) for each in documents
    )
    if args.json:
        print_json(documents)
        return 0
    rows = [
        (
            document.id,
            f"{document.source}:{document.uri}",
            " ".join(sorted(document.access_class.labels.principals)),
            document.access_class.labels.classification,
            "superseded" if document.superseded_by else "",
        )
        for document in documents
    ]
    print_table(("ID", "DOCUMENT", "ACCESS", "CLASS", ""), rows, empty="no documents: run `assistant ingest`")
    return 0


def show(args: Namespace) -> int:
    """Print one document with its chunks."""
    app = opened(args)
    view, likenesses = _view(app, args.user), app.documents.likenesses(_permitted(app, args.user))
    document = found(view, args.document)
    chunks = view.pieces(document.id)
    text = view.text(document.id) if args.text else None
    newer = likenesses.newer([document]).get(document.id)
    document = replace(document, superseded_by=newer.id if newer else None)
    near = likenesses.near(document.id)
    if args.json:
        shown = {"document": document, "chunks": chunks, "near_duplicates": near}
        print_json({**shown, **({"text": text} if args.text else {})})
        return 0
    for name, value in [*_about(document), *_beside(newer, near)]:
        print(f"{name:<12}{value}")
    print_table(("CHUNK", "PAGE", "FROM", "TO", "TEXT"), [_row(chunk) for chunk in chunks], empty="no text")
    if text is not None:
        print(f"\n{text}")
    return 0


def why(args: Namespace) -> int:
    """Say which class, labels, principals and policies decide; 0 whether they may read it or not."""
    app = opened(args)
    user = app.people.user(args.user)
    document = found(_view(app, None), args.document)
    labels = document.access_class.labels
    decision = app.access.may_read(user, labels)
    allowed = decision.action == "allow"
    likenesses = app.documents.likenesses(app.permissions.permitted(user))
    newer = likenesses.newer([document])
    hidden_by = newer.get(document.id) if allowed else None
    both = sorted(labels.principals & user.principals)
    if args.json:
        print_json(
            {
                "document": document,
                "user": user,
                "allowed": allowed,
                "decision": decision,
                "principals": user.principals,
                "matched": both,
                "superseded_by": hidden_by,
            }
        )
        return 0
    print(f"{user.id} {'may' if allowed else 'may not'} read {document.source}:{document.uri}.")
    print(f"because     {decision.reason}")
    print(f"class       {document.access_class.id}: {_labels(labels)}")
    print(f"readers     {_joined(labels.principals)}")
    print(f"{user.id} is".ljust(12) + _joined(user.principals))
    print(f"in both     {_joined(both)}")
    if hidden_by:
        print(wrapped(f"Search returns {hidden_by.uri} instead, which is newer and may be read."))
    return 0


def remove(args: Namespace) -> int:
    """Remove documents, each with a receipt in the log."""
    app = opened(args)
    view = _view(app, None)
    documents = [found(view, name) for name in args.documents]
    removals = [app.remover.remove(document.id, by=operator()) for document in documents]
    if args.json:
        print_json(removals)
        return 0
    for removal in removals:
        for line in told(removal):
            print(line)
    return 0


def told(removal: Removal) -> Iterator[str]:
    """Say what a removal took away, for people."""
    document, receipt = removal.document, removal.receipt
    yield f"removed {document.source}:{document.uri}: {removal.chunks} chunks gone"
    yield f"  change    {removal.change}; indexes that are behind it are filtered until they follow"
    if removal.indexes:
        yield f"  indexes   {_joined(f'{name} at {number}' for name, number in removal.indexes.items())}"
    if removal.caches:
        yield f"  caches    {_joined(f'{number} {name} let go' for name, number in removal.caches.items())}"
    if removal.adapters:
        yield wrapped(
            f"{_joined(removal.adapters)}: trained on it. Take its examples out and train anew.",
            first="  adapters  ",
            indent=" " * 12,
        )
    yield f"  receipt   entry {receipt.index} of the log · leaf {receipt.leaf_hash[:16]}…"


def found(view: Readable, name: str) -> Document:
    """Return the document of an id, of `source:path`, or of a path that only one source holds.

    Raises:
        Unknown: none that this view shows, or several.
    """
    from assistant.errors import Unknown

    named = view.named(name)
    if len(named) > 1:
        choices = ", ".join(f"{d.source}:{d.uri}" for d in named)
        raise Unknown(f"Several documents are at {name}.", remedy=f"Name one of {choices}.")
    if not named:
        raise Unknown(f"There is no document {name}.", remedy="`assistant documents list` shows them.")
    return named[0]


def _view(app: App, user: str | None) -> Readable:
    """Return what a person may read; nobody named: what the operator of this machine may."""
    return app.documents.readable(_permitted(app, user))


def _permitted(app: App, user: str | None) -> frozenset[int]:
    if user is not None:
        return app.permissions.permitted(app.people.user(user))
    return app.documents.class_ids()


def _pages(view: Readable, source: str | None) -> Iterator[Document]:
    place = ("", "")
    while page := view.page(limit=_PAGE, after=place, source=source):
        yield from page
        place = (page[-1].source, page[-1].uri)


def _about(document: Document) -> Iterator[tuple[str, str]]:
    yield "id", document.id
    yield "document", f"{document.source}:{document.uri}"
    yield "title", document.title
    yield "type", f"{document.media_type}, {document.size_bytes:,} bytes"
    if document.dated:
        yield "dated", document.dated
    if document.ingested_at:
        yield "ingested", document.ingested_at.isoformat(timespec="seconds")
    yield "class", f"{document.access_class.id}: {_labels(document.access_class.labels)}"
    yield "readers", _joined(document.access_class.labels.principals)


def _beside(newer: Document | None, near: Iterable[Alike]) -> Iterator[tuple[str, str]]:
    """Name what search returns instead of a document, and its copies."""
    if newer:
        yield "superseded", f"by {newer.source}:{newer.uri} ({newer.id})"
    for each in near:
        other = each.document
        yield (
            "like",
            f"{other.source}:{other.uri} ({other.id}): {each.likeness:.0%} of their text is the same",
        )


def _row(chunk: Chunk) -> tuple[object, ...]:
    words = " ".join(chunk.text.split())
    short = words if len(words) <= _FIRST_WORDS else f"{words[: _FIRST_WORDS - 1]}…"
    return (chunk.id, chunk.page, chunk.start, chunk.end, short)


def _labels(labels: Labels) -> str:
    parts = [labels.classification, f"source {labels.source}"]
    parts += [f"department {labels.department}"] if labels.department else []
    parts += [f"residency {labels.residency}"] if labels.residency else []
    return ", ".join(parts)


def _joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
