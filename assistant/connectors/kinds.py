"""Which class reads a connector's file: built in, from an installed package, or beside the file.

It owns the look-up of `kind`. A plug-in is imported only when a file names it, so that an installed
package runs no code by being installed; it refuses one that shadows a built-in kind.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from assistant.connectors.base import Source
from assistant.errors import ConfigError

GROUP = "assistant.connectors"
BUILT_IN = {
    "files": "assistant.connectors.config:FilesSource",
    "langchain": "assistant.connectors.langchain:LangChainSource",
}


def kind_named(kind: str, file: Path) -> type[Source]:
    """Return the class for the `kind` that `file` names.

    `NAME.py` is a file beside it, whose class `Connector` is meant; any other name is a built-in or the
    entry point of an installed package.

    Raises:
        ConfigError: nobody offers it, several packages do, or it cannot be imported.
    """
    try:
        found = _local(file.parent / Path(kind).name) if kind.endswith(".py") else _installed(kind, file)
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - a plug-in is foreign code
        raise ConfigError(
            f"{file}: the connector kind `{kind}` cannot be loaded: {type(error).__name__}: {error}.",
            remedy="Correct or reinstall the plug-in.",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Source)):
        raise ConfigError(
            f"{file}: key `kind`: `{kind}` is no subclass of assistant.connectors.base.Source.",
            remedy="Correct the plug-in.",
        )
    return found


def _installed(kind: str, file: Path) -> object:
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        return getattr(import_module(module), name)
    offered = entry_points(group=GROUP)
    matching = list(offered.select(name=kind))
    if len(matching) == 1:
        return matching[0].load()
    if matching:
        packages = ", ".join(_package(point) for point in matching)
        raise ConfigError(
            f"{file}: key `kind`: several packages offer `{kind}`: {packages}.",
            remedy="Uninstall all but one.",
        )
    known = ", ".join(sorted({*BUILT_IN, *offered.names}))
    raise ConfigError(
        f"{file}: key `kind`: no connector kind `{kind}` is installed.",
        remedy=f"Known: {known}; a package adds one, or a file NAME.py beside this one.",
    )


def _local(code: Path) -> object:
    if not code.is_file():
        raise ConfigError(f"{code} does not exist.", remedy="Create it or correct `kind`.")
    spec = spec_from_file_location(f"assistant_connector_{code.stem}", code)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks up the names in annotations
    spec.loader.exec_module(module)
    return getattr(module, "Connector", None)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown package"
