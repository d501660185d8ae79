"""One YAML file of the workspace -> one checked model. Owns how such files are read and their errors.

No key may stand twice, every key is known (`extra=forbid`), `${VAR}` must be set. A wrong file gives
one `ConfigError` naming file, key and remedy; it refuses to guess.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
_FLATTER = "Write its values out, without brackets in brackets or an alias inside its own anchor."
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(file: Path) -> dict[str, Any]:
    """Read one YAML mapping with `${VAR}` replaced from the environment.

    Raises:
        ConfigError: missing file, YAML error, a key given twice, not a mapping, unset variable.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file} does not exist.", remedy="Create it or correct the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.", remedy="It must be UTF-8 text.") from error
    return parse_yaml(text, file)


def parse_yaml(text: str, file: Path) -> dict[str, Any]:
    """Make of the text of `file` what `read_yaml` makes of the file.

    Raises:
        ConfigError: as `read_yaml`, but for a missing file.
    """
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{file}{where}: not valid YAML: {getattr(error, 'problem', None) or error}.",
            remedy="Correct it there or just above.",
        ) from error
    except RecursionError:
        raise ConfigError(f"{file} is nested too deeply.", remedy=_FLATTER) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{file}: expected keys and values at the top, found {type(data).__name__}.",
            remedy="Write it as `key: value` lines.",
        )
    try:
        return {str(key): _expand(value, f"{key}", file) for key, value in data.items()}
    except RecursionError:
        raise ConfigError(f"{file} holds a value that contains itself.", remedy=_FLATTER) from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain YAML in which no key may stand twice: the first would be lost in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401
        """Build a mapping, refusing a key given twice."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        for key, _ in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key `{key.value}` stands twice", key.start_mark
                )
        built: dict[Any, Any] = super().construct_mapping(node, deep)
        return built


def validated(schema: type[Model], data: dict[str, Any], file: Path) -> Model:
    """Validate `data` read from `file`; a mistake names file, key and remedy.

    Raises:
        ConfigError: a key is unknown or a value is wrong.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        location = _written(first["loc"], data)
        key = ".".join(str(part) for part in location)
        if first["type"] == "extra_forbidden":
            remedy = f"Remove it; known here: {', '.join(_siblings(schema, first['loc']))}."
            raise ConfigError(f"{file}: unknown key `{key}`.", remedy=remedy) from None
        if first["type"] == "missing":
            raise ConfigError(f"{file}: key `{key}` is missing.", remedy="Add it.") from None
        what = first["msg"].removeprefix("Value error, ")
        where = f"key `{key}`: {what}" if key else what
        raise ConfigError(f"{file}: {where}.", remedy="Correct its value.") from None


def _written(location: tuple[int | str, ...], data: object) -> tuple[int | str, ...]:
    """Keep of pydantic's location what stands in the file: names of union members do not."""
    kept: list[int | str] = []
    for number, part in enumerate(location):
        holds = isinstance(data, dict) and part in data
        holds = holds or (isinstance(data, list | tuple) and isinstance(part, int) and part < len(data))
        if holds:
            data = data[part]  # type: ignore[index]
        if holds or number == len(location) - 1:
            kept.append(part)
    return tuple(kept)


def _expand(value: object, key: str, file: Path) -> object:
    if isinstance(value, dict):
        return {k: _expand(v, f"{key}.{k}", file) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, f"{key}.{i}", file) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(
                f"{file}: key `{key}` uses ${{{name}}}, which is not set.",
                remedy=f"Export {name} or write the value.",
            )
        return os.environ[name]

    return _VARIABLE.sub(replace, value)


def _siblings(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Field names known at the place of an unknown key."""
    models: list[type[BaseModel]] = [schema]
    for part in location[:-1]:
        inside = [model for here in models for model in _inside(here, part)]
        tagged = [model for model in models if _tag(model) == part or model.__name__ == part]
        models = inside or tagged or models
    names = {field.alias or name for model in models for name, field in model.model_fields.items()}
    return sorted(names)


def _inside(model: type[BaseModel], part: int | str) -> list[type[BaseModel]]:
    """Models that the field named `part` may hold, alone or in a collection."""
    field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
    return _models(field.annotation) if field else []


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in get_args(annotation) for model in _models(each)]


def _tag(model: type[BaseModel]) -> object:
    """Return the value of `kind` that chooses this model in a union."""
    kind = model.model_fields.get("kind")
    return next(iter(get_args(kind.annotation)), None) if kind else None
