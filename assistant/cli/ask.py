"""`assistant ask`: one question as one person, streamed, with sources and receipt."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from contextlib import aclosing
from typing import TYPE_CHECKING, assert_never

from assistant.cli.command import command, opened
from assistant.cli.output import Flow, print_json, wrapped

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.types import Answer, Citation, Question, Route


def arguments(parser: ArgumentParser) -> None:
    """Declare `ask QUESTION --as USER`."""
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("--as", dest="user", metavar="USER", required=True, help="a person of people.yaml")
    parser.add_argument(
        "--department", metavar="D", help="ask this department instead of letting the router choose"
    )
    command(parser, run)


def run(args: Namespace) -> int:
    """Answer; abstaining and denying are answers too, and end 0."""
    from assistant.types import Question

    app = opened(args)
    asked = Question(
        text=args.question, user=app.people.user(args.user), department=args.department, caller="cli"
    )
    answer = asyncio.run(_ask(app, asked, show=not args.json))
    if args.json:
        print_json(answer)
    return 0


async def _ask(app: App, asked: Question, *, show: bool) -> Answer:
    try:
        if not show:
            return await app.chat.answer(asked)
        return await streamed(app, asked)
    finally:
        await app.close()


async def streamed(app: App, asked: Question, *, indent: str = "") -> Answer:
    """Print an answer as it comes, then its route, sources and receipt."""
    from assistant.turn import Closed, Opened, Text

    flow = Flow(indent)
    printed = ""
    async with aclosing(app.chat.stream(asked)) as events:
        async for event in events:
            match event:
                case Opened():
                    pass
                case Text(text=text):
                    printed += text
                    flow.write(text)
                case Closed(answer=answer):
                    flow.write(answer.text[len(printed) :])
                    flow.finish()
                    print()
                    print("\n".join(footer(answer, indent)), flush=True)
                    return answer
                case _:
                    assert_never(event)
    raise AssertionError("a stream ends with Closed")


def footer(answer: Answer, indent: str = "") -> list[str]:
    """Return the lines below an answer: why it is none, route, sources, receipt."""
    lines = [
        wrapped(
            f"{decision.rule}: {decision.reason}", indent=f"{indent}          ", first=f"{indent}Because   "
        )
        for decision in answer.decisions
        if decision.blocks
    ]
    lines.append(f"{indent}Route     {_route(answer.route)}")
    for place, citation in enumerate(sorted(answer.citations, key=lambda c: c.number)):
        lines += _source(citation, indent, "Sources" if place == 0 else "")
    receipt = answer.receipt
    lines.append(
        f"{indent}Receipt   {receipt.id} · entry {receipt.index} of the log · leaf {receipt.leaf_hash[:16]}…"
    )
    return lines


def _route(route: Route) -> str:
    if route.department is None:
        return f"base model, no adapter ({route.reason})" if route.reason else "none"
    adapter = f"adapter {route.department}@{route.adapter[:16]}" if route.adapter else "no adapter"
    return f"{route.department} · {adapter} · {route.confidence:.0%} sure"


def _source(citation: Citation, indent: str, label: str) -> list[str]:
    page = f", page {citation.page}" if citation.page else ""
    place = f"{indent}{label:<10}"
    inner = f"{indent}{'':<14}"
    return [
        wrapped(
            f"{citation.title} ({citation.uri}{page})", indent=inner, first=f"{place}[{citation.number}] "
        ),
        wrapped(f"“{citation.quote}”", indent=inner, first=inner),
    ]
