from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from assistant.errors import ConfigError
from assistant.workspace import init

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [file] = folder.glob("hybrid_assistant-*.whl")
    return file


def test_the_wheel_holds_only_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    version = PROJECT["project"]["version"]
    assert tops == {"assistant", f"hybrid_assistant-{version}.dist-info"}
    assert {"assistant/py.typed", "assistant/policies/access.cedarschema"} <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".db", ".safetensors.part"))]


def test_the_wheel_makes_the_same_workspace_as_the_repository(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; from pathlib import Path; from assistant.workspace import init; init(Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "from-wheel")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
    )
    init(tmp_path / "from-repository")
    assert _contents(tmp_path / "from-wheel") == _contents(tmp_path / "from-repository")


def test_a_new_workspace_is_whole(tmp_path):
    from assistant.connectors.config import load_sources

    made = init(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "assistant.yaml",
        "connectors",
        "adapters",
        "policies",
        "docs",
    }
    assert made.documents == sum(p.is_file() for p in (ROOT / "examples" / "docs").rglob("*"))
    assert load_sources(tmp_path / "new" / "connectors")["company"].url == "docs"


def test_init_writes_over_nothing(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("there", "file"):
        with pytest.raises(ConfigError, match="not empty"):
            init(tmp_path / name)
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert init(tmp_path / "empty").files > 50


def test_constraints_pin_every_requirement():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert all(line.startswith("#") or "==" in line for line in lines if line)
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["cpu"],
        *PROJECT["dependency-groups"]["dev"],
    ]
    for requirement in map(Requirement, wanted):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), f"{requirement} is pinned to {pin}"


def _contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
