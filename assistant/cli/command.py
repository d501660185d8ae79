"""What every command's file builds on: the parser, the common options, the workspace.

It imports nothing heavy, so that help answers at once; the application is built when a command runs.
"""

from __future__ import annotations

import getpass
import os
from argparse import SUPPRESS, Action, ArgumentParser, HelpFormatter, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.config import Settings

Arguments = Callable[[ArgumentParser], None]
Run = Callable[[Namespace], int]


class _Form(HelpFormatter):
    """Help in two columns, the first wide enough for our longest names."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)
        self._action_max_length = 14


class Parser(ArgumentParser):
    """An argument parser whose errors are one line and whose lists fit a terminal."""

    def __init__(self, *, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=_Form)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"error: {message}. See `{self.prog} --help`.\n")


class ShowVersion(Action):
    """Print the installed version, looked up only when asked for."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, SUPPRESS, nargs=0, help="show the version and exit")

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        """Print it."""
        from importlib.metadata import version

        parser.exit(0, f"assistant {version('hybrid-assistant')}\n")


def command(parser: ArgumentParser, run: Run) -> None:
    """Give a command the common options and what it runs."""
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--config", metavar="FILE", type=Path, help="another workspace's assistant.yaml")
    parser.set_defaults(run=run)


def group(parser: ArgumentParser, members: dict[str, tuple[str, Arguments | None, Run]]) -> None:
    """Give a command sub-commands: name -> what it does, its arguments, what it runs."""
    subparsers = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    for name, (summary, arguments, run) in members.items():
        own = subparsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if arguments:
            arguments(own)
        command(own, run)


def settings(args: Namespace) -> Settings:
    """Read the configuration of the workspace that the command is about."""
    from assistant.config import load

    return load(args.config)


def opened(args: Namespace) -> App:
    """Build the application over that workspace; nothing heavy is loaded yet."""
    from assistant.app import build

    return build(settings(args))


def operator() -> str:
    """Name who runs this command, for the log: the operating system's user."""
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"operator:uid-{os.getuid()}"
