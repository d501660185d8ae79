import json

import pytest

from assistant.adapters.manifest import CONFIG_FILE, MANIFEST_FILE, WEIGHTS_FILE
from assistant.adapters.registry import Registry
from assistant.errors import AdapterError, ConfigError, Unknown


def test_departments_are_the_folders_with_an_adapter_yaml(workspace):
    folder, _ = workspace
    (folder / "notes").mkdir()
    registry = Registry(folder)
    assert registry.departments() == ("hr",)
    assert registry.config("hr").style == "Warm."
    assert Registry(folder / "none").departments() == ()


def test_a_champion_is_pointed_at_and_resolved(workspace):
    folder, manifest = workspace
    registry = Registry(folder)
    assert registry.aliases("hr") == {}
    with pytest.raises(AdapterError, match="adapters train hr"):
        registry.resolve("hr")
    pointed = registry.point("hr", manifest.digest)
    assert registry.resolve("hr") == pointed
    assert pointed.name == f"hr@{manifest.digest[:16]}"
    assert pointed.rank == 2
    assert pointed.size_bytes > 0
    assert registry.versions("hr") == (manifest,)


@pytest.mark.parametrize("name", ["", "../hr", "nobody", "HR", "a/b", "x" * 500])
def test_unknown_departments_are_refused(workspace, name):
    with pytest.raises(Unknown, match="Known: hr"):
        Registry(workspace[0]).config(name)


def test_a_folder_of_another_name_is_refused(workspace):
    folder, _ = workspace
    (folder / "hr").rename(folder / "people")
    with pytest.raises(ConfigError, match="says hr, its folder people"):
        Registry(folder).config("people")


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("damage", ["change", "remove"])
def test_damaged_versions_are_refused(workspace, name, damage):
    folder, manifest = workspace
    registry = Registry(folder)
    registry.point("hr", manifest.digest)
    file = folder / "hr" / "versions" / manifest.short / name
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(AdapterError):
        registry.resolve("hr")


def test_an_edited_manifest_is_refused(workspace):
    folder, manifest = workspace
    file = folder / "hr" / "versions" / manifest.short / MANIFEST_FILE
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "data_digest": "0" * 64}))
    with pytest.raises(AdapterError, match="altered"):
        Registry(folder).version("hr", manifest.digest)


def test_pointing_at_nothing_changes_nothing(workspace):
    folder, manifest = workspace
    registry = Registry(folder)
    registry.point("hr", manifest.digest)
    with pytest.raises(AdapterError):
        registry.point("hr", "0" * 64)
    assert registry.aliases("hr") == {"champion": manifest.digest}


def test_wrong_aliases_are_named(workspace):
    folder, _ = workspace
    (folder / "hr" / "aliases.yaml").write_text("champion: newest\n")
    with pytest.raises(ConfigError, match="`champion`"):
        Registry(folder).resolve("hr")
