"""`assistant init`: a new workspace in a folder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from assistant.cli.command import command
from assistant.cli.output import print_json


def arguments(parser: ArgumentParser) -> None:
    """Declare `init DIR`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")
    command(parser, run)


def run(args: Namespace) -> int:
    """Write the workspace and say what comes next."""
    from assistant.workspace import init

    made = init(args.folder)
    if args.json:
        print_json(
            {"workspace": str(args.folder.resolve()), "files": made.files, "documents": made.documents}
        )
        return 0
    print(f"A workspace with the sample company is in {args.folder}: {made.files} files, among them")
    print(f"{made.documents} documents. assistant.yaml is where to begin. Next:\n")
    if args.folder.resolve() != Path.cwd():
        print(f"  cd {args.folder}")
    print("  assistant models pull")
    print("  assistant ingest docs/")
    print('  assistant ask "How many days a year may I work from another country?" --as ana')
    return 0
