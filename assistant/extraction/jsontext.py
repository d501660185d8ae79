"""JSON as text: tables where it holds rows, lines of `path: value` where it nests.

It owns the paths by which a value is found again; it refuses depth that no person reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from assistant.errors import IngestError
from assistant.extraction.extracted import Builder
from assistant.extraction.table import add_table

_DEEPEST = 64
_LEVELS = 6
_SPARSEST = 4  # cells of a table for each value in it; rows without common names are no table
Value = Mapping[str, "Value"] | Sequence["Value"] | str | float | bool | None


def read_json(text: str, builder: Builder, *, lines: bool = False) -> None:
    """Append the values of a JSON text to `builder`.

    Args:
        lines: each line is a value of its own (JSON Lines).

    Raises:
        IngestError: it is not JSON, or nested too deeply.
    """
    try:
        value = (
            [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
        )
    except ValueError as error:
        raise IngestError(
            f"It is no JSON: {error}.", remedy="Correct it where the message points."
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    _add(value, "", 1, builder)


def _add(value: Value, path: str, depth: int, builder: Builder) -> None:
    if depth > _DEEPEST:
        raise _too_deep()
    if isinstance(value, Mapping):
        _add_object(value, path, depth, builder)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        _add_array(value, path, depth, builder)
    else:
        builder.add("paragraph", f"{path}: {_scalar(value)}" if path else _scalar(value))


def _add_object(value: Mapping[str, Value], path: str, depth: int, builder: Builder) -> None:
    flat = {key: _scalar(inner) for key, inner in value.items() if _is_flat(inner)}
    builder.add("list", "\n".join(f"{_joined(path, key)}: {said}" for key, said in flat.items() if said))
    for key, inner in value.items():
        if key not in flat and inner:
            deeper = _joined(path, key)
            builder.add("heading", deeper, level=min(depth, _LEVELS))
            _add(inner, deeper, depth + 1, builder)


def _add_array(value: Sequence[Value], path: str, depth: int, builder: Builder) -> None:
    rows = [row for row in value if isinstance(row, Mapping)]
    if rows and len(rows) == len(value) and all(_is_flat(cell) for row in rows for cell in row.values()):
        names = list(dict.fromkeys(name for row in rows for name in row))
    else:
        names = []
    if names and len(names) * len(rows) <= _SPARSEST * sum(map(len, rows)):
        cells = [[_scalar(row.get(name)) for name in names] for row in rows]
        add_table(builder, [names, *cells], explicit_header=True)
        return
    for number, inner in enumerate(value):
        _add(inner, f"{path}[{number}]", depth + 1, builder)


def _is_flat(value: Value) -> bool:
    if isinstance(value, Mapping):
        return False
    return (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not any(
            isinstance(inner, Mapping) or (isinstance(inner, Sequence) and not isinstance(inner, str))
            for inner in value
        )
    )


def _scalar(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(filter(None, map(_scalar, value)))
    return str(value)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _too_deep() -> IngestError:
    return IngestError(f"Its values nest deeper than {_DEEPEST}.", remedy="Flatten it, or leave it out.")
