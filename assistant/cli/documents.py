"""`assistant documents`: what the workspace holds, and removing from it for good."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from assistant.cli.command import group, opened, operator
from assistant.cli.output import print_json, print_table

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.types import Document, Receipt


def arguments(parser: ArgumentParser) -> None:
    """Declare `documents list|remove`."""
    group(
        parser,
        {
            "list": ("list the documents, with who may read them", _list_arguments, list_),
            "remove": ("remove documents; the very next question cannot see them", _remove_arguments, remove),
        },
    )


def _list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--source", metavar="NAME", help="of this source only")


def _remove_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "documents", metavar="ID", nargs="+", help="document ids, or their paths in the source"
    )


def list_(args: Namespace) -> int:
    """Print every living document."""
    documents = opened(args).documents.list(args.source)
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


def remove(args: Namespace) -> int:
    """Remove documents, each with an entry in the log."""
    app = opened(args)
    found = [find(app, name) for name in args.documents]
    removed = [(document, *remove_one(app, document)) for document in found]
    if args.json:
        print_json([{"document": d, "chunks": chunks, "receipt": receipt} for d, chunks, receipt in removed])
        return 0
    for document, chunks, receipt in removed:
        print(f"removed {document.uri}: {chunks} chunks gone (entry {receipt.index} of the log)")
    return 0


def find(app: App, name: str) -> Document:
    """Return the document of an id, of `source:path`, or of a path that only one source holds.

    Raises:
        Unknown: none, or several.
    """
    from assistant.errors import Unknown

    if by_id := app.documents.get(name):
        return by_id
    named = [d for d in app.documents.list() if name in (d.uri, f"{d.source}:{d.uri}")]
    if len(named) > 1:
        choices = ", ".join(f"{d.source}:{d.uri}" for d in named)
        raise Unknown(f"Several documents are at {name}.", remedy=f"Name one of {choices}.")
    if not named:
        raise Unknown(f"There is no document {name}.", remedy="`assistant documents list` shows them.")
    return named[0]


def remove_one(app: App, document: Document) -> tuple[int, Receipt]:
    """Remove a document and write `document.removed`; return its number of chunks and the receipt."""
    from assistant.audit.entry import Draft

    log = app.log
    chunks = app.documents.remove(document.id)
    receipt = log.append(
        Draft(
            kind="document.removed",
            id=document.id,
            user=operator(),
            attributes={
                "gen_ai.data_source.id": document.source,
                "assistant.document.uri": document.uri,
                "assistant.document.chunks": chunks,
            },
            digests={"content": document.content_digest},
        )
    )
    return chunks, receipt
