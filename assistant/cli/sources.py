"""Which connector a path given to `assistant ingest` belongs to, and with which labels it is read.

A path inside a connector's folder is that connector's, labels included. Any other folder becomes a
source of its own, and only with labels: its own `.access.yaml`, or principals given on the command line.
It refuses to guess who may read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assistant.config import Settings
from assistant.connectors.base import Connector, Source
from assistant.connectors.config import FOLDER_FILE, FilesSource, load_sources, read_folder_labels
from assistant.connectors.files import Files
from assistant.connectors.remote import RemoteTree
from assistant.errors import BadRequest, IngestError, Unknown
from assistant.yamlfile import validated


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A connector, the part of its source that is meant, and how to name it to a person."""

    connector: Connector
    under: str
    label: str


def choose(
    paths: Sequence[str],
    settings: Settings,
    *,
    connector: str | None = None,
    access: Sequence[str] = (),
    department: str | None = None,
) -> list[Chosen]:
    """Return what to ingest; without paths the whole of the named connector, or of all.

    Raises:
        Unknown: no connector of that name.
        IngestError: a path does not exist.
        BadRequest: labels are missing, or given where a connector says them.
        ConfigError: a connector's file or a principal is wrong.
    """
    sources = load_sources(settings.path(settings.connectors))
    if connector is not None and connector not in sources:
        known = ", ".join(sorted(sources)) or "none"
        raise Unknown(f"There is no connector {connector!r}.", remedy=f"Known: {known}.")
    candidates = {connector: sources[connector]} if connector else sources
    if not paths:
        if access or department:
            raise _labels_said(", ".join(candidates))
        if not candidates:
            raise BadRequest(
                "There is nothing to ingest.", remedy="Name a path, or write connectors/NAME.yaml."
            )
        return [whole(source, settings) for source in candidates.values()]
    chosen = []
    for path in (path.removeprefix("file://") for path in paths):
        found = _owner(path, candidates, settings)
        if found and (access or department):
            raise _labels_said(found[0].name)
        if not found and connector:
            raise BadRequest(f"{path} is not inside the source of connector {connector!r}.")
        chosen.append(_part(*found, settings) if found else _own_source(path, settings, access, department))
    return chosen


def _labels_said(names: str) -> BadRequest:
    return BadRequest(
        f"Connector {names} says who may read its documents.",
        remedy="Leave out --access and --department, or change its file in connectors/.",
    )


def whole(source: Source, settings: Settings) -> Chosen:
    """Return the whole of a connector's source."""
    return _part(source, "", settings)


def _part(source: Source, under: str, settings: Settings) -> Chosen:
    connector = source.open(settings.workspace)
    if under:  # only sources of files are named by path
        assert isinstance(source, FilesSource)
        connector = Files(source, workspace=settings.workspace, under=under)
    label = f"{source.name}/{under}" if under else source.name
    return Chosen(connector=connector, under=under, label=label)


def _owner(path: str, sources: dict[str, Source], settings: Settings) -> tuple[FilesSource, str] | None:
    """Return the connector whose source holds `path`, the innermost one, and the path inside it."""
    best: tuple[int, FilesSource, str] | None = None
    for source in sources.values():
        if not isinstance(source, FilesSource) or source.is_remote != ("://" in path):
            continue
        if source.is_remote:
            root, place = source.url.rstrip("/"), path.rstrip("/")
        else:
            folder = settings.workspace / source.url.removeprefix("file://")
            root, place = os.path.realpath(folder), os.path.realpath(path)
        if place == root or place.startswith(f"{root}/"):
            inside = place[len(root) :].strip("/")
            if best is None or len(root) > best[0]:
                best = (len(root), source, inside)
    return best and best[1:]


def _own_source(path: str, settings: Settings, access: Sequence[str], department: str | None) -> Chosen:
    """Make a source of a folder, a file, or a URL that no connector speaks of."""
    remote = "://" in path
    place = path.rstrip("/") if remote else os.path.realpath(path)
    if not remote and not os.path.exists(place):
        raise IngestError(f"{path} does not exist.", remedy="Correct the path.")
    is_file = not remote and os.path.isfile(place)
    root, under = os.path.split(place) if is_file else (place, "")
    principals = list(access) or _folder_access(root, remote)
    if not principals:
        raise BadRequest(
            f"Nothing says who may read {path}.",
            remedy=f"Give --access everyone (or group:NAME, department:NAME, user:ID), write a {FOLDER_FILE} "
            "there, or a connector for it.",
        )
    if remote and RemoteTree(place, {}).is_file():
        root, under = os.path.split(place)
    slug = re.sub(r"[^a-z0-9]+", "-", os.path.basename(root).lower()).strip("-")[:40] or "files"
    data = {
        "name": f"{slug}-{hashlib.sha256(root.encode()).hexdigest()[:6]}",
        "url": root,
        "default": {"access": principals, **({"department": department} if department else {})},
    }
    source = validated(FilesSource, data, Path("the command line"))
    return Chosen(connector=Files(source, workspace=settings.workspace, under=under), under=under, label=path)


def _folder_access(root: str, remote: bool) -> list[str]:
    """Principals that the root's own `.access.yaml` names; documents below must have some."""
    file = Path(root, FOLDER_FILE)
    if remote or not file.is_file():
        return []
    labels = read_folder_labels(file.read_text(encoding="utf-8", errors="replace"), file)
    return list(labels.access or ())
