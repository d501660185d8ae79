"""`assistant routes evaluate`: how well questions find their department."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.cli.command import group, opened
from assistant.cli.output import print_json, print_table

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.routing.evaluate import Evaluation, Routed


def arguments(parser: ArgumentParser) -> None:
    """Declare `routes evaluate`."""
    summary = "measure the router on questions of known departments; shows where which questions go"
    group(parser, {"evaluate": (summary, _file, run)})


def _file(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help='lines of {"question": …, "department": … or null, "as": a person, if the whole pipeline is to '
        "route it}; without it, each example is routed by all the others",
    )


def run(args: Namespace) -> int:
    """Print accuracy, calibration and the confusion table."""
    from assistant.routing.evaluate import Evaluation

    app = opened(args)
    evaluation = Evaluation.of(_routed(app, args.file) if args.file else app.router.held_out())
    if args.json:
        print_json(evaluation)
    else:
        _show(evaluation)
    return 0


def _routed(app: App, file: Path) -> list[Routed]:
    from assistant.routing.examples import read_reviewed
    from assistant.types import Question

    routed: list[Routed] = []
    for each in read_reviewed(file, app.router.learned.departments):
        if each.asker is None:
            route = app.router.route(each.question)
        else:
            route = app.chat.route(Question(text=each.question, user=app.people.user(each.asker)))
        routed.append((each.department, route))
    return routed


def _show(evaluation: Evaluation) -> None:
    print(f"{evaluation.questions} questions")
    for name, value in (
        ("likeliest department is theirs", evaluation.accuracy),
        ("routed there", evaluation.routed),
        ("unsure", evaluation.unsure),
        ("taken for none of theirs", evaluation.false_rejections),
        ("of none, and not routed", evaluation.none_recall),
        ("calibration error, 15 bins", evaluation.calibration_error),
    ):
        if value is not None:
            print(f"  {name:<32} {value:.3f}")
    print()
    columns = list(next(iter(evaluation.confusion.values()), {}))
    rows = [[name, *(row[column] or "·" for column in columns)] for name, row in evaluation.confusion.items()]
    print_table(["belongs to", *columns], rows, empty="no question")
