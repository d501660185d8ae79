from __future__ import annotations

import yaml


def test_shows_effective_values(shell):
    shell("config", "show")
    shown = yaml.safe_load(shell.out)
    assert shown["company"] == "Example Company"
    assert shown["serve"]["max_messages"] == 8
    assert shown["serve"]["port"] == 8000
    assert shown["workspace"] == str(shell.folder)


def test_masks_secrets(shell, monkeypatch):
    monkeypatch.setenv("SERVER_KEY", "sk-very-secret")
    (shell.folder / "assistant.yaml").write_text(
        "database: postgresql://me:hunter2@db/assistant\n"
        "engine: {kind: http, url: 'http://gpu:8001/v1', model: m, api_key: '${SERVER_KEY}'}\n"
    )
    for words in (("config", "show"), ("config", "show", "--json")):
        shell(*words)
        assert shell.code == 0
        assert "sk-very-secret" not in shell.out
        assert "hunter2" not in shell.out
        assert "postgresql://me:**********@db/assistant" in shell.out


def test_an_unset_variable_is_named(shell):
    (shell.folder / "assistant.yaml").write_text("company: ${NOT_SET_ANYWHERE}\n")
    assert "NOT_SET_ANYWHERE" in shell.fails("config", "show")
