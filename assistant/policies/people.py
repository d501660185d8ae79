"""The directory of people: who a user id is. Owns people.yaml; decides nothing about access."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assistant.errors import Unknown
from assistant.types import User
from assistant.yamlfile import Section, parse_yaml, read_yaml, validated


class Person(Section):
    """One person of people.yaml."""

    department: str | None = None
    groups: tuple[str, ...] = ()
    attributes: dict[str, str] = {}


class PeopleFile(Section):
    """The whole of people.yaml."""

    people: dict[str, Person] = {}


class People:
    """Looks up users by id."""

    def __init__(self, people: Mapping[str, Person], file: Path) -> None:
        self._people = people
        self._file = file

    @classmethod
    def load(cls, file: Path) -> People:
        """Read people.yaml.

        Raises:
            ConfigError: missing or wrong.
        """
        return cls(validated(PeopleFile, read_yaml(file), file).people, file)

    @classmethod
    def parse(cls, text: str, file: Path) -> People:
        """Make the directory of the text of people.yaml.

        Raises:
            ConfigError: it is wrong.
        """
        return cls(validated(PeopleFile, parse_yaml(text, file), file).people, file)

    def user(self, id: str) -> User:
        """Return the user of this id.

        Raises:
            Unknown: no such person.
        """
        person = self._people.get(id)
        if person is None:
            raise Unknown(
                f"No user {id!r} in {self._file.name}.", remedy="Add them there, or correct the name."
            )
        return User(
            id=id,
            department=person.department,
            groups=frozenset(person.groups),
            attributes=person.attributes,
        )

    def ids(self) -> tuple[str, ...]:
        """Return every known id, in the file's order."""
        return tuple(self._people)
