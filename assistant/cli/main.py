"""The command `assistant`: finds the sub-command, imports its file only, and turns errors into one line.

Each sub-command is a file of this folder with `arguments(parser)`. It owns exit codes (0 done, 1 failed,
2 wrong usage, 130 interrupted); it holds no work of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from assistant.cli.command import Parser, ShowVersion
from assistant.errors import AssistantError

COMMANDS = {
    "init": "write a new workspace, with the sample company in it, into a folder",
    "demo": "show the whole idea in a minute: ingest, ask as different people, delete, verify",
    "models": "pull, list or verify the models that assistant.yaml names",
    "ingest": "read documents into the workspace",
    "sync": "bring every connector's source up to date, once or again and again",
    "documents": "list or remove documents",
    "ask": "ask a question as a person; prints the answer with its sources and receipt",
    "search": "show which passages a person's question finds, and why",
    "route": "show which department a question goes to, and why",
    "routes": "measure how well questions find their department",
    "adapters": "list the departments' adapters, or train one",
    "serve": "serve the HTTP API",
    "keys": "create, list or revoke API keys",
    "audit": "list, show or verify the entries of the audit log",
    "config": "show the configuration in effect",
    "doctor": "check models, indexes, database, key files and packages",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _quiet_libraries()
    try:
        args = build(next((word for word in given if not word.startswith("-")), "")).parse_args(given)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except AssistantError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted.", code=130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the edge: a person at a terminal gets one line
        if os.environ.get("ASSISTANT_TRACEBACK"):
            raise
        return _fail(
            f"{type(error).__name__}: {error}. This is a mistake of the program: "
            "set ASSISTANT_TRACEBACK=1 to see where."
        )


def build(chosen: str) -> Parser:
    """Return the parser; only the chosen command's file is imported, and only its arguments are known."""
    parser = Parser(
        prog="assistant",
        description="A company's own assistant: adapters carry style, retrieval carries facts, "
        "every answer leaves a receipt.",
        epilog="Commands work on the workspace at or above the current folder; --config FILE names another. "
        "`assistant COMMAND --help` tells more.",
    )
    parser.add_argument("--version", action=ShowVersion)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name, summary in COMMANDS.items():
        own = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            import_module(f"assistant.cli.{name}").arguments(own)
    return parser


def _fail(message: str, *, code: int = 1) -> int:
    sys.stdout.flush()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _quiet_libraries() -> None:
    """Keep libraries' own chatter out of output that people and programs read."""
    for name, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):
        os.environ.setdefault(name, value)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars belong on a terminal; ours become plain lines


if __name__ == "__main__":
    sys.exit(main())
