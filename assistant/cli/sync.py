"""`assistant sync`: every connector of the workspace, several side by side, once or again and again.

A source that fails stops no other. It owns order, waiting and the summary; what happens to one source is
`ingest`'s.
"""

from __future__ import annotations

import re
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant.cli.command import command, opened, settings
from assistant.cli.ending import Ending, ending
from assistant.cli.ingest import DONE, careful, cautions, ingest, refusals, told
from assistant.cli.output import print_json

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.cli.sources import Chosen
    from assistant.errors import ConfigError
    from assistant.ingest import Summary
    from assistant.types import Receipt

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIDE_BY_SIDE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """How one source ended: with a summary, what a dry run foresees, or the reason why there is neither."""

    source: str
    foreseen: Mapping[str, int] | None = None
    summary: Summary | None = None
    receipt: Receipt | None = None
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether nothing of it could be brought up to date."""
        if self.summary is None:
            return self.foreseen is None
        return bool(self.summary.refused) and not any(getattr(self.summary, name) for name in DONE)


def arguments(parser: ArgumentParser) -> None:
    """Declare `sync [NAME…]`."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="connectors (default: all of connectors/)")
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=_at_least_one,
        default=_SIDE_BY_SIDE,
        help=f"sources side by side (default: {_SIDE_BY_SIDE})",
    )
    parser.add_argument(
        "--every",
        metavar="TIME",
        type=_interval_s,
        help="again and again, such as 90s, 15m, 6h or 1d; SIGTERM ends it",
    )
    cautions(parser)
    command(parser, run)


def run(args: Namespace) -> int:
    """Bring every source up to date; 1 if one failed in the last round, or was stopped in its only one."""
    app = opened(args)
    failed = False
    with ending() as end:
        while not end.told:
            started = time.monotonic()
            results = _round(app, args, end)
            _show(results, json=args.json)
            failed = any(result.failed for result in results)
            if args.every is None:
                return int(failed)
            end.wait(max(0.0, started + args.every - time.monotonic()))
            app = _current(app, args)
    return 0


def _current(app: App, args: Namespace) -> App:
    """Follow assistant.yaml: with another embedder in it, this process must not embed by the old one.

    Where what it says now cannot be opened, as before a `models pull`, the round goes by what it said before.
    """
    from assistant.errors import AssistantError

    try:
        if settings(args) == app.settings:
            return app
        again = opened(args)
        _open(again)
    except AssistantError as error:
        print(f"the round goes by what assistant.yaml said before: {error}", file=sys.stderr)
        return app
    app.database.close()
    return again


def _open(app: App) -> None:
    """Make once what several threads need; first the embedder, which may not be here."""
    _ = app.embedder, app.documents, app.log


def _round(app: App, args: Namespace, end: Ending) -> list[_Result]:
    """Ingest every source once and return how each ended, in order of their files.

    Raises:
        Unknown: a name that no connector has.
    """
    _open(app)
    with ThreadPoolExecutor(args.jobs, thread_name_prefix="sync") as threads:
        return list(threads.map(lambda source: _one(app, source, args, end), _sources(app, args.names)))


def _sources(app: App, names: Sequence[str]) -> list[tuple[str, Chosen | ConfigError]]:
    """Return each source by name, or what is wrong with its file."""
    from assistant.cli.sources import whole
    from assistant.connectors.config import load_source, source_files
    from assistant.errors import BadRequest, ConfigError, Unknown

    found: dict[str, Chosen | ConfigError] = {}
    for file in source_files(app.settings.path(app.settings.connectors)):
        try:
            source = load_source(file)
            if source.name in found:
                raise ConfigError(
                    f"{file}: another connector is named `{source.name}`.", remedy="Rename one."
                )
            found[source.name] = whole(source, app.settings)
        except ConfigError as error:
            found[file.stem if file.stem not in found else file.name] = error
    if not found:
        raise BadRequest("There is nothing to sync.", remedy="Write connectors/NAME.yaml.")
    if unknown := [name for name in names if name not in found]:
        raise Unknown(f"There is no connector {unknown[0]!r}.", remedy=f"Known: {', '.join(sorted(found))}.")
    return [(name, part) for name, part in found.items() if not names or name in names]


def _one(app: App, source: tuple[str, Chosen | ConfigError], args: Namespace, end: Ending) -> _Result:
    """Ingest one source; whatever goes wrong with it is its result, and the others go on."""
    from assistant.errors import AssistantError
    from assistant.ingesting.listing import going_on

    name, part = source
    if isinstance(part, AssistantError):
        return _Result(source=name, error=str(part))

    try:
        end.proceed()
        part = careful(app, part, end.proceed, guard=not args.allow_mass_removal)
        if args.dry_run:
            files = going_on(app.preview(part.connector), end.proceed)
            return _Result(source=name, foreseen=Counter(str(outcome) for _, outcome in files))
        summary, receipt = ingest(app, part, show=not args.json, proceed=end.proceed)
    except AssistantError as error:
        return _Result(source=name, error=str(error))
    except Exception as error:  # noqa: BLE001 - a source that fails stops no other
        return _Result(
            source=name, error=f"{type(error).__name__}: {error}. This is a mistake of the program."
        )
    return _Result(source=name, summary=summary, receipt=receipt)


def _show(results: Sequence[_Result], *, json: bool) -> None:
    if json:
        print_json(results)
    for result in results if not json else ():
        if result.summary:
            said = told(result.summary)
        elif result.foreseen is not None:
            said = ", ".join(f"{count:,} {name}" for name, count in sorted(result.foreseen.items()))
            said = f"{said or 'nothing there'} (dry run)"
        else:
            said = f"failed: {result.error}"
        print(f"{result.source}: {said}")
        for line in refusals(result.summary) if result.summary else ():
            print(line)
    sys.stdout.flush()


def _interval_s(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or not float(found[1]):
        raise ArgumentTypeError(f"{text!r} is no time such as 90s, 15m, 6h or 1d")
    return float(found[1]) * _UNITS_S[found[2]]


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)
