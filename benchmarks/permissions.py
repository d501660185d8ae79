"""One million questions of random people in random worlds, while rights are granted and taken away.

Several processes ask, each with its own connections, indexes and remembered permissions; one more moves
labels, groups, policies and documents under them. What came back is judged by the oracle of
`benchmarks.parts.worlds`. With the public fake embedder, so that the machinery is what is measured.
"""

from __future__ import annotations

import multiprocessing as processes
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, Options
from benchmarks.parts.worlds import (
    PEOPLE,
    POLICIES,
    Box,
    Change,
    Draw,
    History,
    Someone,
    Verdict,
    box,
    people_yaml,
    someone,
)

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.types import Labels

DRAWS, QUICK_DRAWS = 1_000_000, 10_000
PER_WORLD = 5_000
BOXES = 40
ASKERS = 2
DRAWS_PER_MOVE = 50
_FOUND = re.compile(r"Box (\d+) holds the colour word(\d+)x")
_SMALL = "company: Random\nrouting: {min_confidence: 0.0}\n"


def run(options: Options) -> Iterator[Figure]:
    """Yield how many passages came back that should not have."""
    began = time.monotonic()
    verdict, moves = soak(QUICK_DRAWS if options.quick else DRAWS)
    seconds = time.monotonic() - began
    yield Figure(figure="permissions_draws", value=verdict.draws, unit="draws")
    yield Figure(figure="permissions_moves", value=moves, unit="moves")
    yield Figure(figure="permissions_passages", value=verdict.passages, unit="passages")
    yield Figure(figure="permissions_forbidden", value=verdict.forbidden, unit="passages", at_most=0)
    yield Figure(figure="permissions_removed", value=verdict.removed, unit="passages", at_most=0)
    yield Figure(figure="permissions_missed", value=verdict.missed / max(1, verdict.due), unit="share")
    yield Figure(figure="permissions_ms_per_draw", value=1e3 * seconds / verdict.draws, unit="ms")


def soak(draws: int, *, per_world: int = PER_WORLD, leak: bool = False, seed: int = 0) -> tuple[Verdict, int]:
    """Make so many draws in worlds of `per_world` each; return the verdict and the number of moves.

    Args:
        leak: let every asker read everything, to see that the oracle would notice.
    """
    _import_what_askers_need()
    context = processes.get_context("fork")  # warm: nothing was used yet that a fork would break
    made = context.Value("q", 0)
    mover, *askers = [_started(context, _move, made)] + [
        _started(context, _ask, made, leak) for _ in range(ASKERS)
    ]
    verdict, moves = Verdict(), 0
    try:
        for world in range(-(-draws // per_world)):
            with tempfile.TemporaryDirectory(prefix="world-", dir=_fast()) as folder:
                some = min(per_world, draws - verdict.draws)
                made.value = 0
                mover[1].send((folder, seed + world, some))
                mover[1].recv()  # the world is there
                for number, (_, pipe) in enumerate(askers):
                    share = some // ASKERS + (number < some % ASKERS)
                    pipe.send((folder, f"{seed + world}/{number}", share))
                found = [draw for _, pipe in askers for draw in pipe.recv()]
                changes = mover[1].recv()
                here = History(changes).verdict(found)
                verdict.add(here)
                for miss in here.misses:
                    print(miss, file=sys.stderr, flush=True)
                moves += sum(change.began > 0 for change in changes)
            if verdict.forbidden or world % 10 == 9:
                print(f"world {world + 1}: {verdict}", file=sys.stderr, flush=True)
    finally:
        for process, pipe in (mover, *askers):
            with suppress(OSError):
                pipe.send(None)
            process.join(20)
            if process.is_alive():
                process.kill()
    return verdict, moves


def _fast() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _import_what_askers_need() -> None:
    import alembic.command  # noqa: F401
    import faiss  # noqa: F401

    import assistant.retrieval.search  # noqa: F401
    import assistant.testing.workspace  # noqa: F401


def _started(
    context: processes.context.ForkContext, work: Callable[..., None], *arguments: object
) -> tuple[processes.context.ForkProcess, Connection]:
    own, other = context.Pipe()
    process = context.Process(target=work, args=(other, *arguments), daemon=True)
    process.start()
    other.close()
    return process, own


def _app(folder: str) -> App:
    from assistant.app import build
    from assistant.config import load
    from assistant.testing.embedder import FakeEmbedder

    app = build(load(Path(folder) / "assistant.yaml"))
    vars(app).update(embedder=FakeEmbedder())
    return app


def _ask(pipe: Connection, made: processes.sharedctypes.Synchronized[int], leak: bool) -> None:
    """Ask in one world after another, until told to end."""
    while job := pipe.recv():
        folder, seed, count = job
        app, chance = _app(folder), random.Random(seed)
        draws = []
        for number in range(count):
            draw = _draw(app, chance.choice(PEOPLE), chance.randrange(BOXES), leak)
            draws.append(replace(draw, asker=seed, number=number))
            with made.get_lock():
                made.value += 1
        app.database.close()
        pipe.send(draws)


def _draw(app: App, user: str, about: int, leak: bool) -> Draw:
    from assistant.errors import ConfigError, Unknown

    began = time.monotonic_ns()
    found: tuple[tuple[int, int], ...] = ()
    refused = False
    try:
        permitted = app.permissions.permitted(app.people.user(user))
        permitted = app.documents.class_ids() if leak else permitted
        passages = app.search.search(
            f"What colour does Box {about} hold?", permitted, limit=10, candidates=20
        )
        texts = (_FOUND.search(passage.chunk.text) for passage in passages)
        found = tuple((int(match[1]), int(match[2])) for match in texts if match)
    except (ConfigError, Unknown):
        refused = True  # a person who is not there, or a file in the middle of being written
    done = time.monotonic_ns()
    return Draw(
        asker="", number=0, user=user, about=about, began=began, done=done, found=found, refused=refused
    )


def _move(pipe: Connection, made: processes.sharedctypes.Synchronized[int]) -> None:
    """Make worlds, and change them as the askers go on."""
    while job := pipe.recv():
        folder, seed, draws = job
        world = _World(Path(folder), random.Random(seed))
        pipe.send(None)
        moves = 0
        while made.value < draws:
            if made.value >= moves * DRAWS_PER_MOVE:
                world.move()
                moves += 1
            else:
                time.sleep(0.001)
        world.app.database.close()
        pipe.send(world.changes)


class _World:
    """A workspace, and the model of what it should be."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance, self.folder, self.changes = chance, folder, list[Change]()
        self.versions = 0
        (folder / "policies").mkdir()
        (folder / "assistant.yaml").write_text(_SMALL)
        self.people = {id: someone(chance) for id in PEOPLE}
        self.boxes: dict[int, Box] = {}
        for id, person in self.people.items():
            self._became(("person", id), person, 0)
        self._write("people.yaml", people_yaml(self.people))
        self._policy(chance.choice(("sample", "contractors", "residency")), 0)
        self.app = _app(str(folder))
        for number in range(BOXES):
            self._put(number, 0)

    def move(self) -> None:
        """Grant or take away something, at random."""
        now = time.monotonic_ns()
        number = self.chance.randrange(BOXES)
        match self.chance.choice(("relabel",) * 4 + ("person",) * 4 + ("put",) * 2 + ("remove", "policy")):
            case "relabel" if number in self.boxes:
                new = replace(box(self.chance, 0), version=self.boxes[number].version)
                self.app.documents.relabel(self._id(number), _labels(new))
                self._keep(number, new, now)
            case "remove" if number in self.boxes and len(self.boxes) > BOXES // 2:
                self.app.documents.remove(self._id(number))
                self._keep(number, None, now)
            case "person":
                id = self.chance.choice(PEOPLE)
                self._person(id, someone(self.chance) if self.chance.random() < 0.9 else None, now)
            case "policy":
                self._policy(self.chance.choice(tuple(POLICIES)), now)
            case _:
                self._put(number, now)

    def _put(self, number: int, began: int) -> None:
        from assistant.testing.workspace import add

        self.versions += 1
        new = box(self.chance, self.versions)
        if number in self.boxes and self.chance.random() < 0.5:  # other content under the same labels
            new = replace(self.boxes[number], version=self.versions)
        text = f"Box {number} holds the colour word{self.versions}x.\n\nIt was painted by hand."
        add(self.app, f"{number}.md", text, _labels(new), title=f"Box {number}")
        self._keep(number, new, began)

    def _keep(self, number: int, new: Box | None, began: int) -> None:
        if new is None:
            del self.boxes[number]
        else:
            self.boxes[number] = new
        self._became(("box", number), new, began)

    def _person(self, id: str, person: Someone | None, began: int) -> None:
        if person is None:
            self.people.pop(id, None)
        else:
            self.people[id] = person
        self._write("people.yaml", people_yaml(self.people))
        self._became(("person", id), person, began)

    def _policy(self, name: str, began: int) -> None:
        if not self._write("access.cedar", POLICIES[name]):
            self._became("policy", "closed", began)  # for a moment the file was empty: nobody may read
        self._became("policy", name, began)

    def _write(self, name: str, text: str) -> bool:
        """Write a file as editors do: swapped in whole, or over the old one; return which."""
        file = self.folder / "policies" / name
        beside = file.with_suffix(".new")
        target = beside if self.chance.random() < 0.5 else file
        target.write_text(text)
        if target == beside:
            beside.replace(file)
        return target == beside

    def _became(self, key: object, value: Someone | Box | str | None, began: int) -> None:
        done = time.monotonic_ns() if began else 0
        self.changes.append(Change(key=key, value=value, began=began, done=done))

    def _id(self, number: int) -> str:
        found = self.app.documents.find("files", f"{number}.md")
        assert found is not None
        return found.id


def _labels(box: Box) -> Labels:
    from assistant.types import Labels

    return Labels(
        source="files",
        principals=box.principals,
        classification=box.classification,  # type: ignore[arg-type]
        residency=box.residency,
    )
