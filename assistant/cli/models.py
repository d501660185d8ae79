"""`assistant models`: the weights that the pins name."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from assistant.cli.command import group, settings
from assistant.cli.output import print_json, print_table
from assistant.config import Settings


def arguments(parser: ArgumentParser) -> None:
    """Declare `models pull|list|verify`."""
    group(
        parser,
        {
            "pull": ("fetch and verify models by their pins", _names, pull),
            "list": ("list the models known, and those that are here", None, list_),
            "verify": ("hash every file of the models that are here", _names, verify),
        },
    )


def _names(parser: ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="default: the models in use")


def pull(args: Namespace) -> int:
    """Pull the models named, each whole or not at all."""
    from assistant.models.catalogue import in_use, pin_of

    chosen = settings(args)
    pins = {name: pin_of(name, chosen.models) for name in args.names or in_use(chosen)}
    folders = {}
    for name, pin in pins.items():
        folders[name] = str(pull_one(name, chosen, show=not args.json))
        if not args.json:
            print(f"{name}: ready in {folders[name]}, sha256 {pin.sha256[:16]}…", flush=True)
    if args.json:
        print_json(folders)
    return 0


def pull_one(name: str, chosen: Settings, *, show: bool) -> Path:
    """Pull a model with progress bars on a terminal, or find it whole; return its folder."""
    from assistant.models.catalogue import pin_of
    from assistant.models.progress import bars
    from assistant.models.pull import pull as pull_model

    folder = chosen.path(chosen.models.folder)
    if show and not (folder / name).is_dir():
        print(f"fetching {name} …", file=sys.stderr, flush=True)
    with bars(show=show and sys.stderr.isatty()) as progress:
        return pull_model(
            name,
            pin_of(name, chosen.models),
            folder,
            progress=progress,
            hub_timeout_s=chosen.models.hub_timeout_s,
            workspace=chosen.workspace,
        )


def list_(args: Namespace) -> int:
    """Print every pin and whether its weights are here."""
    from assistant.errors import ModelError
    from assistant.models.catalogue import in_use, known
    from assistant.models.pull import located

    chosen = settings(args)
    used = in_use(chosen)
    models = []
    for name, pin in known(chosen.models).items():
        try:
            folder = str(located(name, chosen))
        except ModelError:
            folder = ""
        models.append(
            {
                "name": name,
                "kind": pin.kind,
                "in_use": name in used,
                "here": bool(folder),
                "sha256": pin.sha256,
                "licence": pin.licence,
                "folder": folder,
            }
        )
    if args.json:
        print_json(models)
        return 0
    rows = [
        (m["name"], m["kind"], "yes" if m["in_use"] else "", "yes" if m["here"] else "no", m["licence"])
        for m in models
    ]
    print_table(("NAME", "KIND", "IN USE", "HERE", "LICENCE"), rows)
    return 0


def verify(args: Namespace) -> int:
    """Hash the models that are in use, or those named."""
    from assistant.models.catalogue import in_use
    from assistant.models.digests import verify as verify_folder
    from assistant.models.progress import bars
    from assistant.models.pull import located

    chosen = settings(args)
    verified = {}
    for name in args.names or in_use(chosen):
        with bars(show=sys.stderr.isatty() and not args.json) as progress:
            verified[name] = verify_folder(located(name, chosen), progress).sha256
        if not args.json:
            print(f"{name}: every file is what was pulled, sha256 {verified[name][:16]}…")
    if args.json:
        print_json(verified)
    return 0
