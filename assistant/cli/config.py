"""`assistant config show`: the configuration in effect, secrets masked."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from assistant.cli.command import group, settings
from assistant.cli.output import print_json


def arguments(parser: ArgumentParser) -> None:
    """Declare `config show`."""
    group(parser, {"show": ("print every setting with its effective value, secrets masked", None, show)})


def show(args: Namespace) -> int:
    """Print all settings, defaults included, as YAML or JSON."""
    shown = settings(args).shown()
    if args.json:
        print_json(shown)
        return 0
    import yaml

    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100), end="")
    return 0
