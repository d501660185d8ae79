"""`assistant route`: where a question goes, without asking it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from assistant.cli.command import command, opened
from assistant.cli.output import print_json


def arguments(parser: ArgumentParser) -> None:
    """Declare `route QUESTION --as USER`."""
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--as", dest="user", metavar="USER", required=True, help="a person of people.yaml")
    command(parser, run)


def run(args: Namespace) -> int:
    """Print department, confidence, and whether this user may use it."""
    from assistant.types import Question

    app = opened(args)
    user = app.people.user(args.user)
    route = app.chat.route(Question(text=args.question, user=user))
    allowed = app.access.may_ask(user, route.department) if route.department else None
    if args.json:
        print_json({"route": route, "allowed": allowed})
        return 0
    print(f"{route.department or 'unsure: the base model'}  ({route.confidence:.2f}: {route.reason})")
    if allowed and allowed.action != "allow":
        print(f"{user.id} may not use it ({allowed.reason}): the base model answers.")
    for department, score in sorted(route.scores.items(), key=lambda item: -item[1]):
        print(f"  {department:<14} {score:.2f}  {'█' * round(score * 40)}".rstrip())
    return 0
