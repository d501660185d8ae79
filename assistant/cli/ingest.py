"""`assistant ingest`: bring the workspace to what sources hold now."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from assistant.cli.command import command, opened, operator
from assistant.cli.ending import Ending, ending
from assistant.cli.output import print_json, wrapped
from assistant.cli.progress import counting, time_left

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.cli.sources import Chosen
    from assistant.ingest import Progress, Summary
    from assistant.types import Receipt

DONE = ("added", "changed", "renamed", "unchanged", "relabelled", "removed")


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
    cautions(parser)
    command(parser, run)


def cautions(parser: ArgumentParser) -> None:
    """Declare the flags that say how carefully a source is brought up to date."""
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done; nothing is changed, little is read"
    )
    parser.add_argument(
        "--allow-mass-removal",
        action="store_true",
        help="remove documents even if a source lists less than half of what is stored",
    )


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
    with ending() as end:
        chosen = [careful(app, part, end.proceed, guard=not args.allow_mass_removal) for part in chosen]
        if args.dry_run:
            return _foretell(app, chosen, end, as_json=args.json)
        return _ingested(app, chosen, end, as_json=args.json)


def _ingested(app: App, chosen: Sequence[Chosen], end: Ending, *, as_json: bool) -> int:
    """Ingest one source after the other."""
    with counting("embed anew:", "chunks", show=not as_json) as report:
        app.reembed(lambda done, total: report(done, total, ""), end.proceed)
    results = []
    for part in chosen:
        summary, receipt = ingest(app, part, show=not as_json, proceed=end.proceed)
        results.append(
            {"source": part.connector.name, "under": part.under, **_counts(summary), "receipt": receipt}
        )
        if not as_json:
            print(f"{part.label}: {told(summary)}")
            for line in refusals(summary):
                print(line)
    if as_json:
        print_json(results)
    return _code(results)


def careful(app: App, part: Chosen, proceed: Callable[[], None], *, guard: bool) -> Chosen:
    """Return a source whose listing ends when `proceed` raises; guarded, one that lost most is refused."""
    from assistant.connectors.guard import Guarded
    from assistant.ingesting.listing import Listing

    def stored() -> Collection[str]:
        return app.documents.stored(part.connector.name)

    listing = Listing(part.connector, proceed)
    return replace(part, connector=Guarded(listing, stored, under=part.under) if guard else listing)


def ingest(
    app: App, part: Chosen, *, show: bool, proceed: Callable[[], None] = lambda: None
) -> tuple[Summary, Receipt]:
    """Ingest one source with progress, and write `ingest.finished`.

    Args:
        proceed: called with every document, and often in between; what it raises ends the ingest there.
    """
    from assistant.audit.entry import Draft

    log = app.log
    with counting(f"ingest {part.label}:", "documents", show=show) as report:

        def progress(step: Progress) -> None:
            report(step.done, step.total, step.uri, pace(step))

        summary = app.ingest(part.connector, progress, under=part.under, proceed=proceed)
    counts = {
        f"assistant.ingest.{name}": value
        for name, value in _counts(summary).items()
        if name not in ("refusals", "notices")
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


def pace(step: Progress) -> str:
    """Say how fast an ingest goes and how long the rest takes; nothing before that can be told."""
    if not step.chunks or not step.seconds:
        return ""
    rate = f"{step.chunks / step.seconds:.1f} chunks/s"
    return rate if step.left_s is None else f"{rate}, {time_left(step.left_s)}"


def told(summary: Summary) -> str:
    """Say in one line what an ingest did."""
    counts = {name: getattr(summary, name) for name in DONE}
    what = _told({**counts, "refused": len(summary.refused)})
    return f"{what} ({summary.chunks:,} chunks embedded, {summary.seconds:.1f} s)"


def refusals(summary: Summary) -> list[str]:
    """Say which documents were refused and why, and what else to know, one paragraph each."""
    return [
        wrapped(f"{uri}: {text}", indent="      ", first=f"  {word} ")
        for word, lines in (("refused", summary.refused), ("notice", summary.notices))
        for uri, text in lines
    ]


def _foretell(app: App, chosen: Sequence[Chosen], end: Ending, *, as_json: bool) -> int:
    """Say what an ingest of each source would do."""
    from assistant.ingesting.listing import going_on

    results = []
    for part in chosen:
        files = [
            {"uri": uri, "outcome": outcome}
            for uri, outcome in going_on(app.preview(part.connector, under=part.under), end.proceed)
            if outcome != "unchanged"
        ]
        counts = Counter(file["outcome"] for file in files)
        results.append({"source": part.connector.name, "under": part.under, **counts, "files": files})
        if not as_json:
            print(f"{part.label}: {_told(counts) if files else 'nothing to do'} (dry run)")
            for file in files:
                print(f"  {file['outcome']:<10} {file['uri']}")
    if as_json:
        print_json(results)
    return 0


def _told(counts: Mapping[str, int]) -> str:
    said = [f"{counts[name]:,} {name}" for name in (*DONE, "refused") if counts.get(name)]
    return ", ".join(said) or "nothing there"


def _counts(summary: Summary) -> dict[str, int | float | list[dict[str, str]]]:
    return {
        **{name: getattr(summary, name) for name in DONE},
        "refused": len(summary.refused),
        "refusals": [{"uri": uri, "reason": reason} for uri, reason in summary.refused],
        "notices": [{"uri": uri, "notice": notice} for uri, notice in summary.notices],
        "chunks": summary.chunks,
        "seconds": summary.seconds,
    }


def _code(results: Sequence[Mapping[str, object]]) -> int:
    """1 when nothing was there or every document was refused."""
    return 0 if any(result[name] for result in results for name in DONE) else 1
