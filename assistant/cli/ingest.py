"""`assistant ingest`: bring the workspace to what sources hold now."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assistant.cli.command import command, opened, operator
from assistant.cli.output import print_json, wrapped
from assistant.cli.progress import counting

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.cli.sources import Chosen
    from assistant.ingest import Progress, Summary
    from assistant.types import Receipt


def arguments(parser: ArgumentParser) -> None:
    """Declare `ingest PATH…`."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="folders, files or URLs (default: every connector's source)"
    )
    parser.add_argument("--connector", metavar="NAME", help="the connector of connectors/NAME.yaml")
    parser.add_argument(
        "--access",
        metavar="PRINCIPAL",
        nargs="+",
        action="extend",
        default=[],
        help="who may read: everyone, group:NAME, department:NAME, user:ID",
    )
    parser.add_argument("--department", metavar="D", help="the department the documents belong to")
    command(parser, run)


def run(args: Namespace) -> int:
    """Ingest each source; 0 even if some documents were refused, 1 if nothing could be read."""
    from assistant.cli.sources import choose

    app = opened(args)
    chosen = choose(
        args.paths,
        app.settings,
        connector=args.connector,
        access=args.access,
        department=args.department,
    )
    results = []
    for part in chosen:
        summary, receipt = ingest(app, part, show=not args.json)
        results.append(
            {"source": part.connector.name, "under": part.under, **_counts(summary), "receipt": receipt}
        )
        if not args.json:
            print(f"{part.label}: {told(summary)}")
            for line in refusals(summary):
                print(line)
    if args.json:
        print_json(results)
    return _code(results)


def ingest(app: App, part: Chosen, *, show: bool) -> tuple[Summary, Receipt]:
    """Ingest one source with progress, and write `ingest.finished`."""
    from assistant.audit.entry import Draft

    log = app.log
    with counting(f"ingest {part.label}:", "documents", show=show) as report:

        def progress(step: Progress) -> None:
            report(step.done, step.total, step.uri)

        summary = app.ingest(part.connector, progress, under=part.under)
    counts = {
        f"assistant.ingest.{name}": value for name, value in _counts(summary).items() if name != "refusals"
    }
    receipt = log.append(
        Draft(
            kind="ingest.finished",
            id=f"ingest-{part.connector.name}",
            user=operator(),
            attributes={
                "gen_ai.data_source.id": part.connector.name,
                "assistant.ingest.under": part.under,
                **counts,
            },
        )
    )
    return summary, receipt


def told(summary: Summary) -> str:
    """Say in one line what an ingest did."""
    parts = [
        f"{count:,} {name}"
        for name in ("added", "changed", "unchanged", "relabelled", "removed")
        if (count := getattr(summary, name))
    ]
    if summary.refused:
        parts.append(f"{len(summary.refused):,} refused")
    return (
        f"{', '.join(parts) or 'nothing there'} ({summary.chunks:,} chunks embedded, {summary.seconds:.1f} s)"
    )


def refusals(summary: Summary) -> list[str]:
    """Say which documents were refused and why, one paragraph each."""
    return [
        wrapped(f"{uri}: {reason}", indent="      ", first="  refused ") for uri, reason in summary.refused
    ]


def _counts(summary: Summary) -> dict[str, int | float | list[dict[str, str]]]:
    return {
        "added": summary.added,
        "changed": summary.changed,
        "unchanged": summary.unchanged,
        "relabelled": summary.relabelled,
        "removed": summary.removed,
        "refused": len(summary.refused),
        "refusals": [{"uri": uri, "reason": reason} for uri, reason in summary.refused],
        "chunks": summary.chunks,
        "seconds": summary.seconds,
    }


def _code(results: Sequence[Mapping[str, object]]) -> int:
    """1 when nothing was there or every document was refused."""
    done = ("added", "changed", "unchanged", "relabelled", "removed")
    return 0 if any(result[name] for result in results for name in done) else 1
