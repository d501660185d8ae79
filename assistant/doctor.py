"""Look a workspace over and say what is wrong and what to do about it.

It owns the checks of `assistant doctor`; each reads only and none stops the others. It repairs nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Literal

from assistant.app import App
from assistant.errors import AssistantError

DISTRIBUTION = "hybrid-assistant"
State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. Only a `problem` makes the doctor fail."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def examine(app: App, *, processes: int = 1) -> Iterator[Check]:
    """Yield every finding, one after another, as it is made.

    Args:
        processes: how many processes are to share the database.
    """
    checks: tuple[tuple[str, Callable[[App], Iterator[Check]]], ...] = (
        ("packages", _packages),
        ("policies", _policies),
        ("connectors", _connectors),
        ("extractors", _extractors),
        ("models", _models),
        ("adapters", _adapters),
        ("database", lambda app: _database(app, processes)),
        ("indexes", _indexes),
        ("audit keys", _keys),
    )
    for name, check in checks:
        try:
            yield from check(app)
        except AssistantError as error:
            yield Check(name=name, state="problem", detail=error.message, remedy=error.remedy)


def _packages(app: App) -> Iterator[Check]:
    """Other distributions that bring our names, and two that bring `faiss`."""
    installed = packages_distributions()
    others = set(installed.get("assistant", ())) - {DISTRIBUTION}
    if others:
        yield Check(
            name="packages",
            state="problem",
            detail=f"{_names(others)} also brings a package `assistant`: either may be imported.",
            remedy=f"Uninstall it, or give {DISTRIBUTION} an environment of its own.",
        )
    for name in ("adapters", "policies", "connectors"):
        if brought := installed.get(name):
            yield Check(
                name="packages",
                state="warning",
                detail=f"{_names(brought)} brings a package `{name}`, the name of a workspace folder.",
                remedy="Nothing here imports it; keep it apart from code that runs in the workspace.",
            )
    faiss = {name for name in installed.get("faiss", ()) if name.startswith("faiss")}
    if len(faiss) > 1:
        yield Check(
            name="packages",
            state="problem",
            detail=f"{_names(faiss)} are both installed and overwrite each other.",
            remedy="Uninstall both, then install one: the extra `cpu` or `gpu`.",
        )
    elif not faiss:
        yield Check(
            name="packages",
            state="problem",
            detail="faiss is not installed.",
            remedy=f"Run `pip install '{DISTRIBUTION}[cpu]'`.",
        )
    elif not others:
        yield Check(name="packages", state="ok", detail=f"no clash; {_names(faiss)} is installed")


def _policies(app: App) -> Iterator[Check]:
    people, rules = app.people.ids(), app.rules.rules
    assert app.access
    yield Check(
        name="policies",
        state="ok",
        detail=f"{len(people)} people, access.cedar valid, {len(rules)} rules whose cases hold",
    )


def _connectors(app: App) -> Iterator[Check]:
    from assistant.connectors.config import FilesSource, load_sources

    sources = load_sources(app.settings.path(app.settings.connectors))
    yield Check(name="connectors", state="ok", detail=_names(sources) or "none")
    for source in sources.values():
        if not isinstance(source, FilesSource) or source.is_remote:
            continue
        if not app.settings.path(Path(source.url.removeprefix("file://"))).is_dir():
            yield Check(
                name="connectors",
                state="warning",
                detail=f"{source.name}: the folder {source.url} does not exist.",
                remedy="Make it, or correct `url`.",
            )


def _extractors(app: App) -> Iterator[Check]:
    """Plug-ins that configuration names, and those it could name."""
    from assistant.extraction.readers import missing, names

    chosen = app.settings.extraction.readers
    for suffix, name in missing(chosen).items():
        yield Check(
            name="extractors",
            state="problem",
            detail=f"`extraction.readers` names {name} for {suffix} files: there is no such plug-in.",
            remedy=f"Install it in this environment; there are: {_names(names()) or 'none'}.",
        )
    if not missing(chosen):
        shown = ", ".join(f"{suffix} by {name}" for suffix, name in sorted(chosen.items()))
        idle = names() - set(chosen.values())
        detail = f"{shown or 'built-in readers only: scans hold no text'}"
        if idle:
            detail += f"; {_names(idle)} could be named in `extraction.readers`"
        yield Check(name="extractors", state="ok", detail=detail)


def _models(app: App) -> Iterator[Check]:
    from assistant.models.catalogue import in_use
    from assistant.models.digests import verify
    from assistant.models.pull import located

    for name in in_use(app.settings):
        try:
            manifest = verify(located(name, app.settings))
        except AssistantError as error:
            yield Check(name="models", state="problem", detail=error.message, remedy=error.remedy)
        else:
            detail = f"{name} is what was pulled, sha256 {manifest.sha256[:16]}…"
            yield Check(name="models", state="ok", detail=detail)


def _adapters(app: App) -> Iterator[Check]:
    """Every champion's files, and whether it was trained on the base that serves."""
    from assistant.adapters.registry import CHAMPION
    from assistant.models.identity import identify
    from assistant.models.pull import located

    local = app.settings.engine.kind == "local"
    try:
        base = identify(located(app.settings.models.base, app.settings)).base_digest if local else None
    except AssistantError:
        base = None
    for department in app.adapters.departments():
        try:
            app.adapters.config(department)
            if CHAMPION not in app.adapters.aliases(department):
                yield Check(
                    name="adapters",
                    state="warning",
                    detail=f"{department} has no adapter in use: the base model answers.",
                    remedy=f"Run `assistant adapters train {department} --promote`.",
                )
                continue
            version = app.adapters.resolve(department)
        except AssistantError as error:
            yield Check(name="adapters", state="problem", detail=error.message, remedy=error.remedy)
            continue
        if base and version.base_digest != base:
            yield Check(
                name="adapters",
                state="problem",
                detail=f"{version.name} was trained on base {version.base_digest[:16]}…, "
                f"not on {app.settings.models.base} ({base[:16]}…).",
                remedy=f"Run `assistant adapters train {department} --promote`.",
            )
        else:
            size = f"{version.size_bytes / 1e6:.1f} MB"
            yield Check(name="adapters", state="ok", detail=f"{version.name}, rank {version.rank}, {size}")


def _database(app: App, processes: int) -> Iterator[Check]:
    from assistant.store.database import SAFE_SQLITE, Database

    url = app.settings.database_url
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.exists():
        yield Check(
            name="database",
            state="warning",
            detail=f"{file} is not there yet.",
            remedy="Run `assistant ingest`.",
        )
        return
    safe = ".".join(map(str, SAFE_SQLITE))
    database = Database.open(url)
    try:
        version = database.sqlite_version
        if version and tuple(int(part) for part in version.split(".")) < SAFE_SQLITE:
            yield Check(
                name="database",
                state="problem" if processes > 1 else "warning",
                detail=f"SQLite {version} can corrupt a database that several processes write.",
                remedy=f"Run one process, install pysqlite3, or use PostgreSQL; {safe} is safe.",
            )
            return
    finally:
        database.close()
    documents = app.documents.count()
    engine = f"SQLite {version}" if version else "PostgreSQL"
    yield Check(name="database", state="ok", detail=f"{engine}, {documents:,} documents")


def _indexes(app: App) -> Iterator[Check]:
    folder = app.settings.path(app.settings.indexes)
    present = [name for name in ("vectors", "lexical") if (folder / name).exists()]
    if len(present) == 2:
        yield Check(name="indexes", state="ok", detail=f"in {folder}; they follow the database")
    else:
        yield Check(
            name="indexes",
            state="ok",
            detail="not built yet; the next question builds them from the database",
        )


def _keys(app: App) -> Iterator[Check]:
    """Private keys must be readable by their owner only."""
    folder = app.settings.path(app.settings.audit.folder)
    files = [folder / "signing.key", *sorted((folder / "people").glob("*.key"))]
    open_files = [f for f in files if f.exists() and f.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    for file in open_files:
        yield Check(
            name="audit keys",
            state="problem",
            detail=f"{file} can be read by others.",
            remedy=f"Run `chmod 600 {file}`.",
        )
    if not open_files:
        made = sum(file.exists() for file in files)
        yield Check(
            name="audit keys",
            state="ok",
            detail=f"{made} key files, readable by their owner only" if made else "none yet",
        )


def _names(names: object) -> str:
    return ", ".join(sorted(names)) if isinstance(names, set | list | tuple | dict) else str(names)
