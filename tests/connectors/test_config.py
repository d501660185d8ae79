"""The connectors' YAML: what is accepted, and how a mistake is told."""

from pathlib import Path

import pytest

from assistant.connectors.config import load_source, load_sources, read_folder_labels
from assistant.errors import ConfigError

GOOD = "kind: files\nname: docs\nurl: docs\ndefault: {access: [everyone]}\n"


def test_a_source_is_read(tmp_path):
    (tmp_path / "docs.yaml").write_text(GOOD)
    source = load_sources(tmp_path)["docs"]
    assert source.url == "docs" and source.default.access == ("everyone",)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("name: docs\nurl: docs\n", "default"),
        ("name: docs\nurl: docs\ndefault: {}\n", "default.access"),
        ("name: docs\nurl: docs\ndefault: {access: []}\n", "default.access"),
        (GOOD.replace("everyone", "Everybody"), "default.access.0"),
        (GOOD.replace("everyone", "'group:'"), "default.access.0"),
        (GOOD + "colour: red\n", "colour"),
        (GOOD.replace("docs\nurl", "Doc Store\nurl"), "name"),
        (GOOD + "labels: [{path: 'hr/**', access: ['department:{room}']}]\n", "labels.0"),
        (GOOD + "labels: [{path: 'hr/**', classification: secret}]\n", "labels.0.classification"),
        (GOOD.replace("kind: files", "kind: web"), "kind"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path, text, key):
    file = tmp_path / "docs.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_source(file)
    assert f"`{key}`" in str(caught.value) and "docs.yaml" in str(caught.value)


def test_two_sources_cannot_share_a_name(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yml").write_text(GOOD)
    with pytest.raises(ConfigError, match="another connector"):
        load_sources(tmp_path)


@pytest.mark.parametrize("text", ["access: everyone", "- a", "access: [x", "acess: [everyone]"])
def test_a_wrong_folder_file_is_refused(text):
    with pytest.raises(ConfigError, match="access.yaml"):
        read_folder_labels(text, Path("hr/.access.yaml"))
