"""The schema of `connectors/*.yaml` and of a folder's `.access.yaml`.

It owns reading and checking them; a wrong file is one ConfigError that names file, key and remedy. A
source without default access is refused, so that nothing becomes public by accident.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from assistant.errors import ConfigError
from assistant.types import Classification
from assistant.yamlfile import Section, read_yaml, validated

FOLDER_FILE = ".access.yaml"
_PRINCIPAL = re.compile(r"everyone|(user|group|department):[^\s:]+")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def _principal(value: str) -> str:
    if not _PRINCIPAL.fullmatch(value):
        raise ValueError(f"`{value}` is none of everyone, user:ID, group:NAME, department:NAME")
    return value


Principal = Annotated[str, AfterValidator(_principal)]


class Labelling(Section):
    """Labels that one layer sets; a key left out keeps what earlier layers said."""

    access: tuple[Principal, ...] | None = Field(None, min_length=1, description="who may read")
    department: str | None = None
    classification: Classification | None = None
    residency: str | None = None


class DefaultLabels(Labelling):
    """Labels of what no pattern covers."""

    access: tuple[Principal, ...] = Field(min_length=1, description="who may read")


class LabelRule(Labelling):
    """Labels of the paths that a pattern covers.

    `*` stands for anything within a folder, `**` across folders, `{name}` for one folder's or file's
    name, which the rule's values may repeat.
    """

    path: str = Field(min_length=1)

    @model_validator(mode="after")
    def _known_names(self) -> LabelRule:
        known = _PLACEHOLDER.findall(self.path)
        if len(known) != len(set(known)):
            raise ValueError("a {name} may stand only once in `path`")
        for value in (*(self.access or ()), self.department or ""):
            for name in _PLACEHOLDER.findall(value):
                if name not in known:
                    raise ValueError(f"{{{name}}} does not stand in `path`")
        return self


class FolderLabels(Labelling):
    """What a folder's `.access.yaml` says of everything below it."""


class SourceLabels(Section):
    """Default and patterns, in order; later ones override earlier ones key by key."""

    default: DefaultLabels
    labels: tuple[LabelRule, ...] = ()


class FilesSource(SourceLabels):
    """A folder, or a URL that fsspec can list."""

    kind: Literal["files"] = "files"
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    url: str = Field(min_length=1, description="folder, relative to the workspace, or an fsspec URL")
    options: dict[str, Any] = Field(default={}, description="options of the fsspec file system")
    exclude: tuple[str, ...] = Field((), description="path patterns that are not documents")


def load_source(file: Path) -> FilesSource:
    """Read one connector's YAML.

    Raises:
        ConfigError: it is missing or wrong.
    """
    return validated(FilesSource, read_yaml(file), file)


def load_sources(folder: Path) -> dict[str, FilesSource]:
    """Read every connector of a workspace, by name.

    Raises:
        ConfigError: one is wrong, or two have one name.
    """
    sources: dict[str, FilesSource] = {}
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        source = load_source(file)
        if source.name in sources:
            raise ConfigError(f"{file}: another connector is named `{source.name}`.", remedy="Rename one.")
        sources[source.name] = source
    return sources


def read_folder_labels(text: str, file: Path) -> FolderLabels:
    """Read the text of a `.access.yaml`.

    Raises:
        ConfigError: it is wrong; nothing below its folder may be ingested under a guess.
    """
    import yaml

    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}.", remedy="Correct it.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: expected keys and values.", remedy="For example `access: [everyone]`.")
    return validated(FolderLabels, data, file)
