"""Write the sample company's workspace into a new folder.

It owns which parts a workspace has and where copies of them come from: inside the wheel, or the
repository in an editable install. It refuses to write over anything.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import ConfigError

_PACKAGE = Path(__file__).parent
_SAMPLE_DOCUMENTS = re.compile(r"^(\s*(?:-\s+)?url:\s*)examples/docs/?[ \t]*$", re.M)
_UNWANTED = shutil.ignore_patterns(".*.part", "__pycache__", ".DS_Store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was written."""

    files: int
    documents: int


def parts() -> dict[str, Path]:
    """Return each part of a workspace and where its copy is taken from.

    Raises:
        ConfigError: this installation holds no sample workspace.
    """
    inside = _PACKAGE / "workspace"
    root = inside if inside.is_dir() else _PACKAGE.parent
    documents = root / "docs" if root == inside else root / "examples" / "docs"
    found = {
        "assistant.yaml": root / "assistant.yaml",
        "connectors": root / "connectors",
        "adapters": root / "adapters",
        "policies": root / "policies",
        "docs": documents,
    }
    for path in found.values():
        if not path.exists():
            raise ConfigError(f"This installation lacks {path}.", remedy="Install hybrid-assistant again.")
    return found


def init(folder: Path) -> Made:
    """Write a workspace into `folder`, which must be new or empty.

    Raises:
        ConfigError: the folder is not empty, is a file, or cannot be written.
    """
    sources = parts()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is not empty.", remedy="Name a new folder.")
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in sources.items():
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=_UNWANTED)
            else:
                shutil.copy(source, folder / name)
        for file in (folder / "connectors").glob("*.yaml"):
            text = file.read_text(encoding="utf-8")
            file.write_text(_SAMPLE_DOCUMENTS.sub(r"\1docs", text), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error}.", remedy="Check space and rights."
        ) from error
    return Made(files=_count(folder), documents=_count(folder / "docs"))


def _count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))
