"""`assistant route`: where a question goes and why, without asking it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from assistant.cli.command import command, opened
from assistant.cli.output import print_json

_NOWHERE = {"unsure": "unsure: the base model", "none": "none of our departments: the base model"}


def arguments(parser: ArgumentParser) -> None:
    """Declare `route QUESTION --as USER`."""
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--as", dest="user", metavar="USER", required=True, help="a person of people.yaml")
    parser.add_argument(
        "--after",
        metavar="QUESTION",
        action="append",
        default=[],
        help="an earlier question of the conversation; once for each, oldest first",
    )
    command(parser, run)


def run(args: Namespace) -> int:
    """Print department, confidence, reason, the examples most like it, and whether this user may use it."""
    from assistant.types import Message, Question

    app = opened(args)
    user = app.people.user(args.user)
    history = tuple(Message(role="user", content=earlier) for earlier in args.after)
    route = app.chat.route(Question(text=args.question, user=user, history=history))
    allowed = app.access.may_ask(user, route.department) if route.department else None
    nearest = app.router.nearest(args.question)
    if args.json:
        examples = [{"text": text, "department": name, "cosine": cosine} for text, name, cosine in nearest]
        print_json({"route": route, "outcome": route.outcome, "allowed": allowed, "nearest": examples})
        return 0
    print(f"{route.department or _NOWHERE[route.outcome]}  ({route.confidence:.2f}: {route.reason})")
    if allowed and allowed.action != "allow":
        print(f"{user.id} may not use it ({allowed.reason}): the base model answers.")
    for department, score in sorted(route.scores.items(), key=lambda item: -item[1]):
        print(f"  {department:<14} {score:.2f}  {'█' * round(score * 40)}".rstrip())
    print("Most like these examples:")
    for text, department, cosine in nearest:
        print(f"  {cosine:.2f}  {department:<14} {text}")
    return 0
