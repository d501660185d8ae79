"""The examples of docs/connectors.md, run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from assistant.connectors.config import FilesSource, load_source
from assistant.connectors.langchain import LangChainSource
from assistant.connectors.schemes import SCHEMES
from assistant.testing.connector_contract import ConnectorContract, Subject

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "connectors.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def test_the_connectors_of_the_page_are_valid():
    files, loader = (yaml.safe_load(block) for block in blocks("yaml"))
    assert FilesSource.model_validate(files).is_remote
    assert LangChainSource.model_validate(loader).name == "wiki"


def test_the_example_in_the_workspace_is_valid_and_asleep(tmp_path, monkeypatch):
    example = ROOT / "connectors" / "bucket.yaml.example"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("S3_ENDPOINT", "S3_KEY", "S3_SECRET"):
            patch.setenv(name, "x")
        assert load_source(example).name == "bucket"
    assert not list((ROOT / "connectors").glob("bucket.y*ml"))


def test_every_extra_is_documented():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for scheme in SCHEMES.values():
        assert f"hybrid-assistant[{scheme.extra}]" in PAGE
        assert re.search(rf'^{scheme.extra} = \["{scheme.package}>=', pyproject, re.M)


class TestTheConnectorOfThePage(ConnectorContract):
    @pytest.fixture
    def subject(self, tmp_path):
        names = {}
        exec(compile(blocks("python")[0], "docs/connectors.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own page
        source = names["NotesSource"].model_validate({"kind": "notes", "name": "notes", "notes": {}})
        connector = source.open(tmp_path)
        notes = connector._notes
        return Subject(
            connector=connector,
            put=lambda path, data: notes.__setitem__(path, data.decode()),
            remove=notes.pop,
        )
