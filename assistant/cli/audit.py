"""`assistant audit`: read the log, verify it, print its signed head. Loads no model."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from assistant.cli.command import group, opened
from assistant.cli.output import print_json, print_table, wrapped

if TYPE_CHECKING:
    from assistant.audit.entry import Body, Entry


def arguments(parser: ArgumentParser) -> None:
    """Declare `audit list|show|verify|checkpoint`."""
    group(
        parser,
        {
            "list": ("list the latest entries", _list_arguments, list_),
            "show": ("show all entries of an answer, a key or a document", _show_arguments, show),
            "verify": ("check every entry against the signed head; names what was altered", None, verify),
            "checkpoint": ("print the signed tree head, to keep outside this machine", None, checkpoint),
        },
    )


def _list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--user", metavar="ID", help="of this user only")
    parser.add_argument("--before", metavar="N", type=int, help="entries below this position only")


def _show_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="of a receipt, as `audit list` shows it")


def list_(args: Namespace) -> int:
    """Print the latest entries, newest first."""
    entries = opened(args).log.entries(limit=args.limit, before=args.before, user=args.user)
    if args.json:
        print_json(entries)
        return 0
    rows = [
        (
            entry.position,
            entry.recorded_at[:19].replace("T", " "),
            entry.kind,
            entry.user,
            entry.status or "",
            (entry.route.department if entry.route else None) or "",
            entry.id,
        )
        for entry in entries
    ]
    print_table(
        ("ENTRY", "RECORDED (UTC)", "KIND", "USER", "STATUS", "DEPARTMENT", "ID"), rows, empty="empty"
    )
    return 0


def show(args: Namespace) -> int:
    """Print every entry of one subject with its inclusion in the log, and the sealed texts if kept."""
    from assistant.errors import AuditError

    log = opened(args).log
    shown: list[dict[str, object]] = []
    for entry in log.of(args.id):
        receipt, path = log.proof(entry.position)
        try:
            body: Body | None = log.body(entry)
            erased = ""
        except AuditError as error:
            body, erased = None, error.message
        proof = [node.hex() for node in path]
        shown.append({"entry": entry, "body": body, "body_error": erased, "receipt": receipt, "proof": proof})
        if not args.json:
            _print_entry(entry, body, erased)
            print(f"  leaf       {receipt.leaf_hash}")
            print(f"  root       {receipt.root_hash} of {receipt.tree_size} entries\n")
    if args.json:
        print_json(shown)
    return 0


def _print_entry(entry: Entry, body: Body | None, erased: str) -> None:
    print(f"entry {entry.position}  {entry.kind}  {entry.recorded_at}")
    print(f"  user       {entry.user}")
    if entry.status:
        print(f"  status     {entry.status}")
    if entry.route:
        adapter = f", adapter {entry.route.adapter[:16]}" if entry.route.adapter else ""
        print(f"  route      {entry.route.department or 'none'}{adapter} ({entry.route.reason})")
    for passage in entry.passages:
        cited = ", cited" if passage.cited else ""
        print(
            f"  passage    [{passage.number}] {passage.uri} characters {passage.start}–{passage.end}{cited}"
        )
    for decision in entry.decisions:
        print(f"  decision   {decision.action} by {decision.rule} v{decision.version}: {decision.reason}")
    for name, value in sorted({**entry.attributes, **entry.digests}.items()):
        if value is not None:
            print(f"  {name} = {value}")
    if body:
        print(wrapped(body.question, indent=" " * 13, first="  question   "))
        if body.answer:
            print(wrapped(body.answer, indent=" " * 13, first="  answer     "))
    elif erased:
        print(f"  texts      {erased}")


def verify(args: Namespace) -> int:
    """Exit 0 if the log holds, 1 with every contradiction named."""
    result = opened(args).verify()
    if args.json:
        print_json(
            {
                "holds": result.holds,
                "entries": result.entries,
                "head_size": result.head_size,
                "root_hash": result.root_hash,
                "problems": [{"position": p.position, "what": p.what} for p in result.problems],
            }
        )
    elif result.holds:
        print(f"The log holds: {result.entries} entries, root {result.root_hash or 'empty'}.")
    else:
        for problem in result.problems:
            print(problem)
    if not result.holds:
        count = len(result.problems)
        print(f"error: the log does not verify: {count} problem{'s' if count > 1 else ''}.", file=sys.stderr)
        return 1
    return 0


def checkpoint(args: Namespace) -> int:
    """Print the signed tree head."""
    text = opened(args).log.checkpoint()
    if args.json:
        print_json({"checkpoint": text})
    else:
        print(text, end="")
    return 0
