"""Paths and URLs given to `assistant ingest`."""

from __future__ import annotations

import uuid

import fsspec
import pytest

from assistant.cli.sources import choose
from assistant.config import load
from assistant.errors import BadRequest, IngestError


@pytest.fixture
def settings(shell):
    (shell.folder / "connectors").mkdir()
    return load(shell.folder / "assistant.yaml")


@pytest.fixture
def root():
    root = f"/{uuid.uuid4().hex}"
    fsspec.filesystem("memory").pipe({f"{root}/hr/a.md": b"one", f"{root}/hr/b.md": b"two"})
    return root


def listed(paths, settings, **more):
    [part] = choose(paths, settings, **more)
    return part, [item.uri for item in part.connector.discover()]


def test_a_url_is_a_source_of_its_own(settings, root):
    part, uris = listed([f"memory:/{root}/hr/"], settings, access=["everyone"])
    assert (uris, part.under) == (["a.md", "b.md"], "")


def test_a_url_of_a_file_is_that_file_of_its_folder(settings, root):
    whole, _ = listed([f"memory:/{root}/hr"], settings, access=["everyone"])
    part, uris = listed([f"memory:/{root}/hr/b.md"], settings, access=["everyone"])
    assert (uris, part.under, part.connector.name) == (["b.md"], "b.md", whole.connector.name)


def test_a_url_below_a_connector_s_is_a_part_of_it(shell, settings, root):
    (shell.folder / "connectors" / "docs.yaml").write_text(
        f"name: docs\nurl: memory:/{root}\ndefault: {{access: [everyone]}}\n"
    )
    part, uris = listed([f"memory:/{root}/hr/b.md"], settings)
    assert (uris, part.connector.name, part.label) == (["hr/b.md"], "docs", "docs/hr/b.md")


def test_who_may_read_is_asked_before_the_network(settings):
    with pytest.raises(BadRequest, match="Nothing says who may read"):
        choose(["gopher://nowhere/x"], settings)


def test_a_file_url_is_a_folder_of_this_machine(shell, settings, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("one")
    _, uris = listed([f"file://{folder}"], settings, access=["everyone"])
    assert uris == ["a.md"]
    with pytest.raises(IngestError, match="does not exist"):
        choose([f"file://{tmp_path}/nowhere"], settings, access=["everyone"])
