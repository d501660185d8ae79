"""What the router learns from: departments' example questions, descriptions and reviewed past questions.

It owns the form of a file of reviewed questions; it refuses to know where departments are configured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, Field, ValidationError

from assistant.errors import ConfigError

QUESTIONS_FILE = "questions.jsonl"
_FORM = 'Write one {"question": "…", "department": "…"} a line; null: none of the departments.'


class Reviewed(BaseModel, frozen=True):
    """A question and the department it belongs to; None: none of them. Other keys are left alone.

    `asker` is who asks it, where a file says so under `as`.
    """

    question: str = Field(min_length=1)
    department: str | None
    asker: str | None = Field(None, alias="as")


class Described(Protocol):
    """What a department says of itself: example questions, and which questions belong to it."""

    @property
    def examples(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def description(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Questions and a description by department, and questions that belong to none of them."""

    questions: Mapping[str, Sequence[str]]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    none: Sequence[str] = ()

    @classmethod
    def read(cls, folder: Path, departments: Mapping[str, Described]) -> Examples:
        """Join what departments say of themselves with the reviewed questions in `folder`/<department>/.

        Raises:
            ConfigError: there is no department, or a file of reviewed questions is wrong.
        """
        if not departments:
            raise ConfigError(
                f"No departments in {folder}/.",
                remedy="Make adapters/DEPARTMENT/adapter.yaml, or run `assistant init`.",
            )
        examples = cls(
            questions={name: own.examples for name, own in departments.items()},
            descriptions={name: own.description for name, own in departments.items()},
        )
        for name in departments:
            file = folder / name / QUESTIONS_FILE
            if file.exists():
                examples = examples.joined(read_reviewed(file, examples.departments, name))
        return examples

    @property
    def departments(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted({*self.questions, *self.descriptions}))

    def joined(self, reviewed: Sequence[Reviewed]) -> Examples:
        """Return these with reviewed questions added."""
        questions = {name: [*self.questions.get(name, ())] for name in self.departments}
        for each in reviewed:
            if each.department is not None:
                questions[each.department].append(each.question)
        none = [*self.none, *(each.question for each in reviewed if each.department is None)]
        return Examples(questions=questions, descriptions=self.descriptions, none=none)


def read_reviewed(file: Path, departments: Sequence[str], default: str | None = None) -> list[Reviewed]:
    """Read a file of reviewed questions, JSON lines; `default` is the department of lines that name none.

    Raises:
        ConfigError: the file is missing or unreadable, a line is wrong, or it names an unknown department.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.", remedy="It must be UTF-8 text.") from error
    return [
        _reviewed(line, f"{file} line {number}", departments, default)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _reviewed(line: str, where: str, departments: Sequence[str], default: str | None) -> Reviewed:
    try:
        row = json.loads(line)
        if default is not None and isinstance(row, dict):
            row = {"department": default, **row}
        reviewed = Reviewed.model_validate(row)
    except (ValueError, RecursionError) as error:
        found = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, found['loc'])) or 'the line'}: {found['msg']}" if found else "not JSON"
        raise ConfigError(f"{where}: {what}.", remedy=_FORM) from None
    if reviewed.department is not None and reviewed.department not in departments:
        raise ConfigError(
            f"{where}: there is no department `{reviewed.department[:64]}`.",
            remedy=f"Known: {', '.join(departments) or 'none'}; null for none of them.",
        )
    return reviewed
