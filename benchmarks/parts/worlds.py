"""Random worlds of people, labels and policies, and who may see what in them, told a second time.

It owns the oracle: access computed from a plain model of labels and groups, with nothing of the code under
test, and the history of a world whose model changes while people ask. A value may be seen by a question
from the moment its change began, and must no longer be seen once the next one has been acknowledged.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace

GROUPS = ("managers", "contractors", "board", "managers ", 'm"x', "department:hr")
DEPARTMENTS = ("hr", "legal", "engineering", "everyone")
COUNTRIES = ("DE", "FR")
CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")
PEOPLE = tuple(f"p{number}" for number in range(22)) + ("everyone", "group:managers")

_BY_LABEL = """
@id("by-label") permit (principal is User, action == Action::"read", resource is DocumentClass)
when { resource.principals.containsAny(principal.principals) };
@id("restricted") forbid (principal is User, action == Action::"read", resource is DocumentClass)
when { resource.classification == "restricted" } unless { principal.groups.contains("managers") };
"""
_CONTRACTORS = """
@id("contractors") forbid (principal is User, action == Action::"read", resource is DocumentClass)
when { principal.groups.contains("contractors")
  && ["confidential", "restricted"].contains(resource.classification) };
"""
_RESIDENCY = """
@id("residency") forbid (principal is User, action == Action::"read", resource is DocumentClass)
when { resource has residency } unless { principal.hasTag("country")
  && principal.getTag("country") == resource.residency };
"""
POLICIES = {
    "sample": _BY_LABEL,
    "contractors": _BY_LABEL + _CONTRACTORS,
    "residency": _BY_LABEL + _RESIDENCY,
    "closed": "// Nobody may read anything.\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Someone:
    """A person as people.yaml knows them."""

    department: str | None
    groups: frozenset[str]
    country: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A document: which content it holds, and its labels."""

    version: int
    principals: frozenset[str]
    classification: str
    residency: str | None


def may_read(policy: str, id: str, person: Someone, box: Box) -> bool:
    """Say who may read what: the policies above, written a second time."""
    own = {"everyone", f"user:{id}", *(f"group:{group}" for group in person.groups)}
    if person.department:
        own.add(f"department:{person.department}")
    if policy == "closed" or not own & box.principals:
        return False
    if box.classification == "restricted" and "managers" not in person.groups:
        return False
    if policy == "contractors" and "contractors" in person.groups:
        return box.classification in ("public", "internal")
    return policy != "residency" or box.residency in (None, person.country)


def someone(chance: random.Random) -> Someone:
    """Draw a person."""
    return Someone(
        department=chance.choice((None, *DEPARTMENTS)),
        groups=frozenset(chance.sample(GROUPS, chance.randint(0, 3))),
        country=chance.choice((None, *COUNTRIES)),
    )


def box(chance: random.Random, version: int) -> Box:
    """Draw a document's labels."""
    principals = [*(f"group:{name}" for name in GROUPS), *(f"department:{name}" for name in DEPARTMENTS)]
    principals += [f"user:{id}" for id in chance.sample(PEOPLE, 3)] + ["everyone", "managers", "*"]
    return Box(
        version=version,
        principals=frozenset(chance.sample(principals, chance.randint(0, 3))),
        classification=chance.choice(CLASSIFICATIONS),
        residency=chance.choice((None, None, *COUNTRIES)),
    )


def people_yaml(people: dict[str, Someone]) -> str:
    """Return people.yaml."""
    known = {
        id: {
            **({"department": person.department} if person.department else {}),
            "groups": sorted(person.groups),
            "attributes": {"country": person.country} if person.country else {},
        }
        for id, person in people.items()
    }
    return json.dumps({"people": known}, indent=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A key of the model got a value (None: it went) in a step that took from `began` to `done`, in ns."""

    key: Hashable
    value: Someone | Box | str | None
    began: int
    done: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Who asked when, about which box, and the (box, version) of every passage that came back.

    `asker` names who drew it by world and process, `number` counts their draws.
    """

    asker: str
    number: int
    user: str
    about: int
    began: int
    done: int
    found: tuple[tuple[int, int], ...]
    refused: bool = False


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What the oracle says of many draws."""

    draws: int = 0
    refused: int = 0
    passages: int = 0
    forbidden: int = 0
    removed: int = 0
    due: int = 0
    misses: list[str] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """Passages that should have come back."""
        return len(self.misses)

    def add(self, other: Verdict) -> None:
        """Count another's too."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class History:
    """All changes of a world, in their order."""

    changes: list[Change] = field(default_factory=list)

    def verdict(self, draws: list[Draw]) -> Verdict:
        """Judge draws.

        `forbidden` counts passages that no state a question could have met allows; `removed` those whose
        content was gone before it began; `missed` the boxes asked about that every such state allows and
        that did not come back, of so many `due`. A box whose labels change under the question is not due:
        the asker's rights were told from the labels before, and what they do not name is not read. A draw
        was `refused` that met a file half written.
        """
        by_key: dict[Hashable, list[Change]] = defaultdict(list)
        for change in self.changes:
            by_key[change.key].append(change)
        result = Verdict(draws=len(draws))
        for draw in draws:
            people = list(_seen(by_key["person", draw.user], draw))
            policies = list(_seen(by_key["policy"], draw))
            for number, version in draw.found:
                result.passages += 1
                boxes = [b for b in _seen(by_key["box", number], draw) if _is(b, version)]
                result.removed += not boxes
                result.forbidden += bool(boxes) and not any(
                    _allows(q, draw.user, p, b) for q in policies for p in people for b in boxes
                )
            result.refused += draw.refused
            boxes = list(_seen(by_key["box", draw.about], draw))
            settled = not draw.refused and len({_labels(b) for b in boxes}) == 1
            if settled and all(_allows(q, draw.user, p, b) for q in policies for p in people for b in boxes):
                result.due += 1
                if draw.about not in {number for number, _ in draw.found}:
                    result.misses.append(self._told(draw))
        return result

    def _told(self, draw: Draw) -> str:
        """Say where a draw stands in its world, to find out what it met; times in ms after its begin."""
        moves = sum(0 < change.began < draw.began for change in self.changes)
        meanwhile = [
            (change.key, (change.began - draw.began) // 1_000_000, (change.done - draw.began) // 1_000_000)
            for change in self.changes
            if change.began <= draw.done and change.done >= draw.began
        ]
        return (
            f"world {draw.asker}, draw {draw.number} after {moves} moves: {draw.user} did not get box "
            f"{draw.about} in {(draw.done - draw.began) // 1_000_000} ms; changed meanwhile: {meanwhile}"
        )


def _seen(changes: list[Change], draw: Draw) -> Iterator[object]:
    """Yield the values that a draw may have met."""
    for place, change in enumerate(changes):
        after = changes[place + 1] if place + 1 < len(changes) else None
        if change.began <= draw.done and (after is None or after.done >= draw.began):
            yield change.value


def _labels(value: object) -> object:
    return replace(value, version=0) if isinstance(value, Box) else value


def _is(value: object, version: int) -> bool:
    return isinstance(value, Box) and value.version == version


def _allows(policy: object, id: str, person: object, value: object) -> bool:
    if not isinstance(policy, str) or not isinstance(person, Someone) or not isinstance(value, Box):
        return False
    return may_read(policy, id, person, value)
