"""Digests of model folders: what `assistant models pull` wrote, and whether it is still that.

It owns the manifest beside the weights and every way of computing a digest; it refuses to repair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from assistant.errors import ModelError
from assistant.models.progress import Progress, silent

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20


class FileEntry(BaseModel):
    """Digest and size of one file of a model folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    size_bytes: int


class Manifest(BaseModel):
    """What a model folder holds. `sha256` is the pin's: that of the weights as they were published."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["causal-lm", "embedder", "cross-encoder"]
    sha256: str
    source: str
    licence: str
    converted_from: Literal["gguf"] | None
    files: dict[str, FileEntry]


def file_digest(file: Path, progress: Progress = silent, label: str = "") -> str:
    """sha256 of a file, hex."""
    digest, done, total = hashlib.sha256(), 0, file.stat().st_size
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            progress(label or f"check {file.name}", done, total)
    return digest.hexdigest()


def weights_digest(files: Sequence[Path], progress: Progress = silent) -> str:
    """Digest of published weights: a file's sha256, or of several the sha256 of their `sha256sum` lines."""
    if len(files) == 1:
        return file_digest(files[0], progress)
    lines = [f"{file_digest(file, progress)}  {file.name}\n" for file in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def model_digest(folder: Path) -> str:
    """Identity of a model: the digest its manifest gives, or without one that of its safetensors files.

    Adapters and receipts name models by this. It follows the published weights, so it does not change
    when another library version converts them to other bytes.

    Raises:
        ModelError: the folder holds no weights, or its manifest is damaged.
    """
    if (folder / MANIFEST).is_file():
        return read_manifest(folder).sha256
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{folder} holds no model weights.", remedy="Run `assistant models pull`.")
    return weights_digest(weights)


def describe(folder: Path) -> dict[str, FileEntry]:
    """Digest and size of every file of a folder, by its path inside it; hidden files are left out."""
    return {
        name: FileEntry(sha256=file_digest(folder / name), size_bytes=(folder / name).stat().st_size)
        for name in names(folder)
    }


def names(folder: Path) -> list[str]:
    """Paths inside a model folder that its manifest speaks of, sorted."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    hidden = [path for path in paths if any(part.startswith(".") for part in path.parts)]
    return sorted(path.as_posix() for path in set(paths) - set(hidden) if path.as_posix() != MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest.

    Raises:
        ModelError: it is missing or damaged.
    """
    file = folder / MANIFEST
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{file} does not exist.", remedy="Run `assistant models pull`.") from None
    except (OSError, ValidationError) as error:
        raise ModelError(
            f"{file} is damaged ({type(error).__name__}).", remedy="Run `assistant models pull`."
        ) from None


def verify(folder: Path, progress: Progress = silent) -> Manifest:
    """Hash every file of a model folder and compare with its manifest.

    Raises:
        ModelError: a file is missing, added or of other content; the message names it.
    """
    manifest = read_manifest(folder)
    there = names(folder)
    missing = sorted(set(manifest.files) - set(there))
    added = sorted(set(there) - set(manifest.files))
    if missing or added:
        what = f"{missing[0]} is missing" if missing else f"{added[0]} is not in its manifest"
        raise ModelError(f"{folder}: {what}.", remedy="Run `assistant models pull`.")
    for name, entry in manifest.files.items():
        if file_digest(folder / name, progress) != entry.sha256:
            raise ModelError(
                f"{folder / name} is not the file that was pulled.", remedy="Run `assistant models pull`."
            )
    return manifest
