from __future__ import annotations

import pytest

import assistant.store.database


def _install(folder, distribution, package):
    """Put a distribution that brings a package where this Python finds it."""
    (folder / package).mkdir(parents=True)
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{package}\n")


def _found(shell, name, *words):
    shell("doctor", *words, "--json")
    import json

    return [check for check in json.loads(shell.out) if check["name"] == name]


def test_says_what_is_missing_and_what_to_do(shell):
    shell("doctor")
    assert shell.code == 1
    assert "PROBLEM models" in shell.out
    assert "assistant models pull" in " ".join(shell.out.split())
    assert "ok      policies" in shell.out
    assert "ok      database" in shell.out
    assert shell.err == "error: 2 problems found.\n"


def test_models_that_are_there_and_adapters_of_another_base(shell, models_folder):
    (shell.folder / "var" / "models").symlink_to(models_folder)
    assert [check["state"] for check in _found(shell, "models")] == ["ok", "ok"]
    adapters = _found(shell, "adapters")
    assert [check["state"] for check in adapters] == ["problem"] * 3
    assert "not on smollm2-135m-instruct" in adapters[0]["detail"]


def test_a_damaged_adapter_and_a_department_without_one(shell):
    weights = next((shell.folder / "adapters" / "hr").rglob("adapter_model.safetensors"))
    weights.write_bytes(weights.read_bytes() + b"x")
    (shell.folder / "adapters" / "legal" / "aliases.yaml").unlink()
    states = {check["detail"].split()[0]: check["state"] for check in _found(shell, "adapters")}
    assert states[str(weights)] == "problem"
    assert states["legal"] == "warning"


def test_keys_that_others_can_read(shell):
    shell("keys", "create", "--user", "ana")
    assert [check["state"] for check in _found(shell, "audit keys")] == ["ok"]
    key = shell.folder / "var" / "audit" / "signing.key"
    key.chmod(0o640)
    [check] = _found(shell, "audit keys")
    assert (check["state"], check["remedy"]) == ("problem", f"Run `chmod 600 {key}`.")


@pytest.mark.parametrize(
    ("distribution", "package", "state"),
    [
        ("another-thing", "assistant", "problem"),
        ("adapters", "adapters", "warning"),
        ("faiss-gpu", "faiss", "problem"),
    ],
)
def test_clashes_with_other_packages(shell, tmp_path, monkeypatch, distribution, package, state):
    _install(tmp_path / "site", distribution, package)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found = [check for check in _found(shell, "packages") if distribution in check["detail"]]
    assert [check["state"] for check in found] == [state]


def test_an_old_sqlite_is_for_one_process_only(shell, monkeypatch):
    monkeypatch.setattr(assistant.store.database, "SAFE_SQLITE", (99, 0, 0))
    assert [check["state"] for check in _found(shell, "database")] == ["warning"]
    assert [check["state"] for check in _found(shell, "database", "--processes", "2")] == ["problem"]


def test_a_broken_policy_does_not_stop_the_other_checks(shell):
    (shell.folder / "policies" / "access.cedar").write_text("permit (principal,")
    assert [check["state"] for check in _found(shell, "policies")] == ["problem"]
    assert [check["state"] for check in _found(shell, "database")] == ["ok"]


def test_extractor_plug_ins_that_are_named_and_those_that_could_be(shell, tmp_path, monkeypatch):
    (found,) = _found(shell, "extractors")
    assert (found["state"], found["detail"]) == ("ok", "built-in readers only: scans hold no text")
    info = tmp_path / "scans-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: scans\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[assistant.extractors]\nocr = scans:Recognition\n")
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = _found(shell, "extractors")
    assert found["detail"].endswith("; ocr could be named in `extraction.readers`")
    settings = shell.folder / "assistant.yaml"
    settings.write_text("extraction: {readers: {pdf: ocr, tif: gone}}\n")
    (found,) = _found(shell, "extractors")
    assert found["state"] == "problem" and "gone for tif files" in found["detail"]
    assert found["remedy"].endswith("there are: ocr.")
    settings.write_text("extraction: {readers: {pdf: ocr}}\n")
    (found,) = _found(shell, "extractors")
    assert (found["state"], found["detail"]) == ("ok", "pdf by ocr")
