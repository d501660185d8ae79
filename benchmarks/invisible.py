"""From deleted or revoked to invisible: the next question, across two serving processes.

Each round puts a document, sees it through both servers, takes it away in one of four ways (deleted through
one server, relabelled in the database, its reader out of the group in people.yaml, its reader forbidden in
access.cedar), and asks both servers at once again: by search, by the list of documents, and by its id.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

import httpx

from benchmarks.figures import Figure, Options
from benchmarks.parts.served import served

if TYPE_CHECKING:
    from assistant.app import App

ROUNDS, QUICK_ROUNDS = 100, 5
_FORBID = '\nforbid (principal == User::"ana", action == Action::"read", resource);\n'


@dataclass(slots=True, kw_only=True)
class Seen:
    """Of one way of taking away: how often the document was still seen, and the first answers' times."""

    rounds: int = 0
    leaks: int = 0
    unseen: int = 0
    milliseconds: list[float] = field(default_factory=list)


def run(options: Options) -> Iterator[Figure]:
    """Yield, for each way of taking away, how often a document was still seen."""
    for way, seen in measure(QUICK_ROUNDS if options.quick else ROUNDS).items():
        yield Figure(figure=f"invisible_{way}_rounds", value=seen.rounds, unit="rounds")
        yield Figure(figure=f"invisible_{way}_leaks", value=seen.leaks, unit="answers", at_most=0)
        yield Figure(figure=f"invisible_{way}_unseen_before", value=seen.unseen, unit="answers", at_most=0)
        yield Figure(
            figure=f"invisible_{way}_next_answer_p50", value=_quantile(seen.milliseconds, 50), unit="ms"
        )
        yield Figure(
            figure=f"invisible_{way}_next_answer_p99", value=_quantile(seen.milliseconds, 99), unit="ms"
        )


def measure(rounds: int) -> dict[str, Seen]:
    """Run so many rounds of every way."""
    with tempfile.TemporaryDirectory(prefix="invisible-") as name, ExitStack() as stack:
        world = _World(Path(name) / "work", stack)
        ways: dict[str, Callable[[str], None]] = {
            "delete": world.delete,
            "relabel": world.relabel,
            "group": world.leave,
            "policy": world.forbid,
        }
        found = {way: Seen() for way in ways}
        for number in range(rounds):
            for way, take_away in ways.items():
                _round(world, f"{way}{number}", take_away, found[way])
        return found


def _round(world: _World, name: str, take_away: Callable[[str], None], seen: Seen) -> None:
    world.restore()
    document = world.put(name)
    seen.unseen += sum(not view for server in world.servers for view in world.views(server, document, name))
    take_away(document)
    for server in reversed(world.servers):  # first the one that did not do it
        began = time.perf_counter()
        views = world.views(server, document, name)
        seen.leaks += next(views)
        seen.milliseconds.append(1e3 * (time.perf_counter() - began))
        seen.leaks += sum(views)
    seen.rounds += 1


def _quantile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


class _World:
    """A workspace, two processes that serve it, and the keys of a reader and of an operator."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        from assistant.testing.workspace import workspace

        self.app: App = workspace(folder)
        stack.callback(self.app.database.close)
        self._people, self._cedar = folder / "policies" / "people.yaml", folder / "policies" / "access.cedar"
        self._before = self._people.read_text(), self._cedar.read_text()
        self.restore()
        self._keys = {
            user: self.app.keys.create(kind="user", name=user, user_id=user)[1] for user in ("ana", "farid")
        }
        self.servers = [
            stack.enter_context(httpx.Client(base_url=stack.enter_context(served(folder)), timeout=60))
            for _ in range(2)
        ]

    def restore(self) -> None:
        """Put people and policies back as they were, with ana and farid on the board."""
        people, cedar = self._before
        people = people.replace("ana: {department: hr}", "ana: {department: hr, groups: [board]}")
        self._people.write_text(people.replace("[managers, operators]", "[managers, operators, board]"))
        self._cedar.write_text(cedar)

    def put(self, name: str) -> str:
        """Store a document that the board may read; return its id."""
        from assistant.testing.workspace import add
        from assistant.types import Labels

        labels = Labels(source="board", principals=frozenset({"group:board"}))
        return add(self.app, f"{name}.md", f"The password of vault {name} is word{name}.", labels).id

    def views(self, server: httpx.Client, document: str, name: str) -> Iterator[bool]:
        """Ask a server as ana in three ways, and yield whether each shows the document."""
        headers = {"Authorization": f"Bearer {self._keys['ana']}"}
        question = {"question": f"What is the password of vault {name}?"}
        found = server.post("/v1/search", json=question, headers=headers).raise_for_status().json()
        yield document in {passage["document_id"] for passage in found["passages"]}
        yield document in _listed(server, headers)
        yield server.get(f"/v1/documents/{document}", headers=headers).status_code != 404

    def delete(self, document: str) -> None:
        """Delete it through the first server."""
        headers = {"Authorization": f"Bearer {self._keys['farid']}"}
        self.servers[0].delete(f"/v1/documents/{document}", headers=headers).raise_for_status()

    def relabel(self, document: str) -> None:
        """Give it to others, as an ingest in a third process would."""
        from assistant.types import Labels

        self.app.documents.relabel(document, Labels(source="board", principals=frozenset({"group:managers"})))

    def leave(self, document: str) -> None:
        """Take ana off the board."""
        self._people.write_text(self._before[0])

    def forbid(self, document: str) -> None:
        """Forbid ana to read anything."""
        self._cedar.write_text(self._before[1] + _FORBID)


def _listed(server: httpx.Client, headers: dict[str, str]) -> set[str]:
    """Ids of all pages of the list of documents."""
    ids: set[str] = set()
    asked: dict[str, str] | None = {"source": "board"}
    while asked:
        page = server.get("/v1/documents", params=asked, headers=headers).raise_for_status().json()
        ids.update(each["id"] for each in page["data"])
        asked = {**asked, "after": page["next"]} if page["next"] else None
    return ids
