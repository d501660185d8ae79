"""`assistant search`: what a person's question finds, with scores and the reason for each rank."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from assistant.cli.command import command, opened
from assistant.cli.output import print_json, wrapped

if TYPE_CHECKING:
    from assistant.retrieval.rank import Found

_SHOWN_CHARACTERS = 240


def arguments(parser: ArgumentParser) -> None:
    """Declare `search QUESTION --as USER`."""
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--as", dest="user", metavar="USER", required=True, help="a person of people.yaml")
    parser.add_argument("--limit", metavar="N", type=int, default=5, help="passages to show, 1 to 50 (5)")
    command(parser, run)


def run(args: Namespace) -> int:
    """Search as `ask` does, without answering; nothing found is a result too, and ends 0."""
    from assistant.errors import BadRequest
    from assistant.types import Question

    if not 1 <= args.limit <= 50:
        raise BadRequest(f"--limit is {args.limit}.", remedy="Give a number from 1 to 50.")
    app = opened(args)
    found = app.chat.find(Question(text=args.question, user=app.people.user(args.user)), args.limit)
    if args.json:
        print_json(
            {
                "question": found.question,
                "spelled": dict(found.spelled),
                "passages": [each.plain for each in found.ranked],
            }
        )
        return 0
    _show(found)
    return 0


def _show(found: Found) -> None:
    for written, meant in found.spelled.items():
        print(f"{written} stands in no document you may read: searched for {meant}.")
    if not found.ranked:
        print("Nothing that you may read.")
    for number, each in enumerate(found.ranked, 1):
        passage, chunk = each.passage, each.passage.chunk
        page = f", page {chunk.page}" if chunk.page else ""
        print(f"{number}. {passage.score:.3f}  {passage.heading}  ({passage.document.uri}{page})")
        text = " ".join(chunk.text.split())
        cut = f"{text[:_SHOWN_CHARACTERS].rsplit(' ', 1)[0]} …" if len(text) > _SHOWN_CHARACTERS else text
        print(wrapped(cut, indent="   "))
        print(wrapped(each.reason, indent="   "))
