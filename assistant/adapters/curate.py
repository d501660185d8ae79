"""Training data of a department: read, validate, and tell near-duplicates.

It owns the form of `train.jsonl` and `eval.jsonl` (one JSON object a line: question, passages, answer)
and refuses a line that would teach a citation to nothing. It does not judge style or facts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from assistant import minhash
from assistant.errors import ConfigError

_CITED = re.compile(r"\[(\d+)\]")


class ExamplePassage(BaseModel):
    """A passage as an example shows it; `document` is the id of the stored one it was taken from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    document: str | None = Field(None, min_length=1)


class Example(BaseModel):
    """A question, the passages found for it, and the answer as the department would write it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str = Field(min_length=1)
    passages: tuple[ExamplePassage, ...] = Field(min_length=1)
    answer: str = Field(min_length=1)

    @model_validator(mode="after")
    def _cites_what_is_there(self) -> Example:
        cited = [int(number) for number in _CITED.findall(self.answer)]
        if wrong := [number for number in cited if not 1 <= number <= len(self.passages)]:
            raise ValueError(f"the answer cites [{wrong[0]}] of {len(self.passages)} passages")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Examples as read, with the digest of the file's bytes."""

    examples: tuple[Example, ...]
    digest: str
    near_duplicates: float


def read(file: Path) -> Dataset:
    """Read and check a file of examples.

    Raises:
        ConfigError: missing, empty, or a line is wrong; the message names the line.
    """
    try:
        content = file.read_bytes()
        lines = content.decode("utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(
            f"{file} does not exist.", remedy="Write examples there, one JSON object a line."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from None
    examples = tuple(_parse(line, number, file) for number, line in enumerate(lines, 1) if line.strip())
    if not examples:
        raise ConfigError(f"{file} holds no examples.", remedy="Write examples, one JSON object a line.")
    return Dataset(
        examples=examples,
        digest=hashlib.sha256(content).hexdigest(),
        near_duplicates=near_duplicate_share([f"{e.question} {e.answer}" for e in examples]),
    )


def _parse(line: str, number: int, file: Path) -> Example:
    try:
        return Example.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file} line {number}: not valid JSON: {error.msg}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f" `{key}`" if key else ""
        raise ConfigError(
            f"{file} line {number}:{where} {first['msg']}.",
            remedy='Each line is {"question", "passages": [{"title", "text"}], "answer"}.',
        ) from None


def documents_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the ids of the documents that the examples' passages name, sorted."""
    named = {passage.document for example in examples for passage in example.passages}
    return tuple(sorted(id for id in named if id is not None))


def near_duplicate_share(texts: Sequence[str], threshold: float = 0.5) -> float:
    """Share of texts that nearly repeat an earlier one: likeness (`assistant.minhash`) above `threshold`."""
    sketches = [minhash.sketch(text) for text in texts]
    buckets: defaultdict[int, list[int]] = defaultdict(list)
    for position, own in enumerate(sketches):
        for band in minhash.bands(own):
            buckets[band].append(position)
    pairs = {pair for members in buckets.values() for pair in combinations(members, 2)}
    repeats = {
        later for earlier, later in pairs if minhash.alike(sketches[earlier], sketches[later]) > threshold
    }
    return len(repeats) / len(texts) if texts else 0.0
