"""`assistant doctor`: what is wrong with this workspace, and what to do."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from assistant.cli.command import command, opened
from assistant.cli.output import print_json, wrapped

_MARKS = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}


def arguments(parser: ArgumentParser) -> None:
    """Declare `doctor`."""
    parser.add_argument(
        "--processes",
        metavar="N",
        type=int,
        default=1,
        help="how many processes are to share the database (default 1)",
    )
    command(parser, run)


def run(args: Namespace) -> int:
    """Print every finding; 1 if one is a problem."""
    from assistant.doctor import examine

    found = []
    for check in examine(opened(args), processes=args.processes):
        found.append(check)
        if not args.json:
            first = f"{_MARKS[check.state]}{check.name:<11} "
            print(wrapped(f"{check.detail} {check.remedy}", indent=" " * len(first), first=first), flush=True)
    if args.json:
        print_json(found)
    problems = sum(check.state == "problem" for check in found)
    if problems:
        print(f"error: {problems} problem{'s' if problems > 1 else ''} found.", file=sys.stderr)
    return 1 if problems else 0
