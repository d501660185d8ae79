from __future__ import annotations


def test_writes_a_workspace_and_says_what_comes_next(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shell("init", "new")
    assert shell.code == 0
    assert "cd new" in shell.out
    assert "assistant ingest docs/" in shell.out
    assert "not empty" in shell.fails("init", "new")
    monkeypatch.chdir(tmp_path / "new")
    assert len(shell.json("adapters", "list")) == 5


def test_json(shell, tmp_path):
    made = shell.json("init", str(tmp_path / "new"))
    assert made["workspace"] == str(tmp_path / "new")
    assert made["documents"] > 50


def test_models_are_listed(shell):
    models = {model["name"]: model for model in shell.json("models", "list")}
    assert models["smollm2-135m-instruct"]["in_use"]
    assert not models["all-minilm-l6-v2"]["here"]
    assert "models pull" in shell.fails("models", "verify")
    assert "no model pin" in shell.fails("models", "pull", "unknown")


def test_adapters_list_marks_the_champion(shell):
    shell("adapters", "list")
    assert shell.out.count("champion") == 3
    assert "no department" in shell.fails("adapters", "train", "sales")
