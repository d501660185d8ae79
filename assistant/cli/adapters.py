"""`assistant adapters`: which versions there are, and training a new one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from assistant.cli.command import group, opened, operator
from assistant.cli.output import print_json, print_table
from assistant.cli.progress import counting

if TYPE_CHECKING:
    from assistant.adapters.manifest import Manifest
    from assistant.adapters.train import Step
    from assistant.app import App
    from assistant.types import Receipt


def arguments(parser: ArgumentParser) -> None:
    """Declare `adapters list|train`."""
    group(
        parser,
        {
            "list": ("list departments and their adapter versions", None, list_),
            "train": ("train a department's adapter on its train.jsonl", _train_arguments, train),
        },
    )


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("department", metavar="DEPARTMENT")
    parser.add_argument(
        "--promote", action="store_true", help="make the new version the department's champion"
    )


def list_(args: Namespace) -> int:
    """Print every version of every department; * marks the one in use."""
    from assistant.adapters.registry import CHAMPION

    registry = opened(args).adapters
    found = [
        {
            "department": name,
            "champion": registry.aliases(name).get(CHAMPION),
            "versions": registry.versions(name),
        }
        for name in registry.departments()
    ]
    if args.json:
        print_json(found)
        return 0
    rows = []
    for name in registry.departments():
        champion = registry.aliases(name).get(CHAMPION)
        versions = registry.versions(name)
        rows += [_row(name, manifest, champion) for manifest in versions] or [(name, "none", "", "", "", "")]
    print_table(("DEPARTMENT", "VERSION", "", "BASE", "EXAMPLES", "TRAINED"), rows, empty="no departments")
    return 0


def _row(department: str, manifest: Manifest, champion: str | None) -> tuple[object, ...]:
    mark = "champion" if manifest.digest == champion else ""
    return (department, manifest.short, mark, manifest.base_name, manifest.examples, manifest.created_at[:10])


def train(args: Namespace) -> int:
    """Train, write `adapter.trained`, and promote if asked to."""
    from assistant import training

    app = opened(args)
    app.adapters.config(args.department)  # an unknown one is told before torch is imported
    with counting(f"train {args.department}:", "steps", show=not args.json) as report:

        def progress(step: Step) -> None:
            told = f"loss {step.loss:.2f}, {step.tokens_per_s:.0f} tokens/s, {step.left_s:.0f} s left"
            report(step.done, step.total, told)

        manifest = training.train(
            args.department, settings=app.settings, adapters=app.adapters, progress=progress
        )
    if args.promote:
        app.adapters.point(args.department, manifest.digest)
    receipt = _record(app, manifest, promoted=args.promote)
    if args.json:
        print_json({"manifest": manifest, "promoted": args.promote, "receipt": receipt})
        return 0
    losses = " → ".join(f"{loss:.2f}" for loss in manifest.losses)
    print(f"Version {manifest.short} of {args.department}: {manifest.examples} examples, loss {losses},")
    print(f"{manifest.seconds:.0f} s (entry {receipt.index} of the log).")
    print("It is the champion now." if args.promote else "Not in use yet: train with --promote to use it.")
    return 0


def _record(app: App, manifest: Manifest, *, promoted: bool) -> Receipt:
    from assistant.audit.entry import Draft

    return app.log.append(
        Draft(
            kind="adapter.trained",
            id=f"{manifest.department}@{manifest.short}",
            user=operator(),
            attributes={
                "assistant.adapter.department": manifest.department,
                "assistant.adapter.examples": manifest.examples,
                "assistant.adapter.promoted": promoted,
                "assistant.base.name": manifest.base_name,
            },
            digests={
                "adapter": manifest.digest,
                "base": manifest.base_digest,
                "data": manifest.data_digest,
                "weights": manifest.weights_digest,
            },
        )
    )
