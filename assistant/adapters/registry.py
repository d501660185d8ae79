"""Departments and adapter versions of a workspace's `adapters/` folder.

It owns the layout: `<department>/adapter.yaml`, `versions/<first 16 of the digest>/` with weights,
configuration and manifest, and `aliases.yaml` (`champion: <digest>`). It refuses a version whose files
are not what its manifest says, and never changes one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import yaml

from assistant.adapters.config import DEPARTMENT_FILE, NAME, DepartmentConfig, read_department
from assistant.adapters.manifest import (
    CONFIG_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Manifest,
    read_manifest,
)
from assistant.errors import AdapterError, ConfigError, Unknown
from assistant.types import AdapterVersion
from assistant.yamlfile import read_yaml

CHAMPION = "champion"
ALIASES_FILE = "aliases.yaml"


class Registry:
    """What is in an `adapters/` folder. Reads files when asked; keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def departments(self) -> tuple[str, ...]:
        """Names of the departments, sorted: the folders that hold an adapter.yaml."""
        return tuple(sorted(file.parent.name for file in self._folder.glob(f"*/{DEPARTMENT_FILE}")))

    def config(self, department: str) -> DepartmentConfig:
        """Return a department's adapter.yaml.

        Raises:
            Unknown: no such department.
            ConfigError: its file is wrong, or names another department than its folder.
        """
        file = self._of(department) / DEPARTMENT_FILE
        config = read_department(file)
        if config.department != department:
            raise ConfigError(
                f"{file}: key `department` says {config.department}, its folder {department}.",
                remedy="Make them equal.",
            )
        return config

    def train_file(self, department: str) -> Path:
        """Return the department's training examples."""
        return self._of(department) / "train.jsonl"

    def versions_folder(self, department: str) -> Path:
        """Where training writes this department's versions."""
        return self._of(department) / "versions"

    def versions(self, department: str) -> tuple[Manifest, ...]:
        """Manifests of the versions that are there, oldest first.

        Raises:
            AdapterError: a manifest is damaged.
        """
        files = self.versions_folder(department).glob(f"*/{MANIFEST_FILE}")
        manifests = [read_manifest(file.parent) for file in files if not file.parent.name.startswith(".")]
        return tuple(sorted(manifests, key=lambda manifest: (manifest.created_at, manifest.digest)))

    def aliases(self, department: str) -> dict[str, str]:
        """Digests by alias; empty when the department points at none.

        Raises:
            ConfigError: aliases.yaml is wrong.
        """
        file = self._of(department) / ALIASES_FILE
        if not file.exists():
            return {}
        aliases = read_yaml(file)
        for alias, digest in aliases.items():
            if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ConfigError(f"{file}: key `{alias}`: expected the 64 hex digits of an adapter version.")
        return aliases

    def resolve(self, department: str, alias: str = CHAMPION) -> AdapterVersion:
        """Return the version that an alias points at, its files checked.

        Raises:
            Unknown: no such department.
            AdapterError: no such alias, or the version is missing or damaged.
        """
        digest = self.aliases(department).get(alias)
        if digest is None:
            raise AdapterError(
                f"Department `{department}` has no {alias} adapter.",
                remedy=f"Run `assistant adapters train {department}`.",
            )
        return self.version(department, digest)

    def version(self, department: str, digest: str) -> AdapterVersion:
        """Return a version by digest, its files checked.

        Raises:
            AdapterError: missing or damaged.
        """
        folder = self.versions_folder(department) / digest[:16]
        manifest = read_manifest(folder)
        if manifest.digest != digest or manifest.department != department:
            raise AdapterError(f"{folder} is not {department}@{digest[:16]}.", remedy="Restore it.")
        _check(folder / WEIGHTS_FILE, manifest.weights_digest)
        _check(folder / CONFIG_FILE, manifest.config_digest)
        return AdapterVersion(
            department=department,
            digest=digest,
            path=folder,
            base_digest=manifest.base_digest,
            rank=int(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["r"]),
            size_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        )

    def point(self, department: str, digest: str, alias: str = CHAMPION) -> AdapterVersion:
        """Point an alias at a version, in one atomic write, after checking the version.

        Raises:
            AdapterError: the version is missing or damaged.
        """
        version = self.version(department, digest)
        file = self._of(department) / ALIASES_FILE
        beside = file.with_name(f".{ALIASES_FILE}.part")
        beside.write_text(yaml.safe_dump({**self.aliases(department), alias: digest}), encoding="utf-8")
        os.replace(beside, file)
        return version

    def _of(self, department: str) -> Path:
        folder = self._folder / department
        if not re.fullmatch(NAME, department) or not (folder / DEPARTMENT_FILE).is_file():
            known = ", ".join(self.departments()) or "none"
            raise Unknown(f"There is no department `{department[:64]}`.", remedy=f"Known: {known}.")
        return folder


def _check(file: Path, digest: str) -> None:
    if not file.is_file():
        raise AdapterError(f"{file} does not exist.", remedy="Restore or retrain this adapter.")
    if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        raise AdapterError(
            f"{file} was altered since its manifest.", remedy="Restore or retrain this adapter."
        )
