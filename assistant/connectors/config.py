"""The schema of `connectors/*.yaml`, of a folder's `.access.yaml` and of labels in frontmatter.

It owns reading and checking them; a wrong file is one ConfigError that names file, key and remedy. A
source without default access is refused, so that nothing becomes public by accident.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, model_validator

from assistant.connectors.base import Connector, Source
from assistant.connectors.kinds import kind_named
from assistant.errors import ConfigError
from assistant.types import Classification
from assistant.yamlfile import Section, read_yaml, validated

FOLDER_FILE = ".access.yaml"
_PRINCIPAL = re.compile(r"everyone|(user|group|department):[^\s:]+")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FENCE = re.compile(r"---[ \t]*\r?\n")
_FRONTMATTER = re.compile(r"---[ \t]*\r?\n(?P<yaml>.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.S | re.M)
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


class FilesSource(Source, SourceLabels):
    """A folder, or a URL that fsspec can list."""

    kind: Literal["files"] = "files"
    url: str = Field(min_length=1, description="folder, relative to the workspace, or an fsspec URL")
    options: dict[str, Any] = Field(default={}, description="options of the fsspec file system")
    include: tuple[str, ...] = Field((), description="path patterns of the documents; none: all")
    exclude: tuple[str, ...] = Field((), description="path patterns that are not documents")
    frontmatter: bool = Field(False, description="markdown files may carry their own labels")
    max_file_mb: int = Field(200, ge=1, description="a larger file is refused, not read")
    retries: int = Field(3, ge=0, le=10, description="after a failure that may pass, of a URL")

    @property
    def is_remote(self) -> bool:
        """Whether `url` is something other than a folder of this machine."""
        return "://" in self.url and not self.url.startswith("file://")

    def open(self, workspace: Path) -> Connector:
        """Return the connector over the whole source."""
        from assistant.connectors.files import Files

        return Files(self, workspace=workspace)


def load_source(file: Path) -> Source:
    """Read one connector's YAML; without `kind` it is of files.

    Raises:
        ConfigError: it is missing or wrong, or of a kind that nobody offers.
    """
    data = read_yaml(file)
    return validated(kind_named(str(data.get("kind", "files")), file), data, file)


def source_files(folder: Path) -> list[Path]:
    """Return the connectors' files of a workspace, in order of name."""
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def load_sources(folder: Path) -> dict[str, Source]:
    """Read every connector of a workspace, by name.

    Raises:
        ConfigError: one is wrong, or two have one name.
    """
    sources: dict[str, Source] = {}
    for file in source_files(folder):
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
    try:
        data = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not valid YAML: {error}.", remedy="Correct it.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: expected keys and values.", remedy="For example `access: [everyone]`.")
    return validated(FolderLabels, data, file)


def read_frontmatter(text: str, *, whole: bool, file: Path) -> FolderLabels:
    """Read the labels that a markdown text names in the YAML between its first two `---` lines.

    Other keys are left alone. Text without frontmatter names none.

    Args:
        text: the beginning of the file.
        whole: whether that is all of it.

    Raises:
        ConfigError: it is wrong, or its end does not stand in `text`.
    """
    found = _FRONTMATTER.match(text.removeprefix("\ufeff"))
    if found is None:
        if whole or not _FENCE.match(text.removeprefix("\ufeff")):
            return FolderLabels()
        raise ConfigError(f"{file}: its frontmatter is too long to be read.", remedy="Shorten it.")
    if not any(sign in found["yaml"] for sign in (*FolderLabels.model_fields, "\\")):
        return FolderLabels()  # without being parsed, which takes most of the time
    try:
        data = yaml.load(found["yaml"], _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file}: its frontmatter is no valid YAML.", remedy="Correct it.") from error
    if not isinstance(data, dict):
        return FolderLabels()
    named = {key: value for key, value in data.items() if key in FolderLabels.model_fields}
    return validated(FolderLabels, named, file)
