from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from assistant.cli import main as cli
from assistant.cli.main import COMMANDS, build

HEAVY = (
    "torch",
    "transformers",
    "faiss",
    "tantivy",
    "kreuzberg",
    "sqlalchemy",
    "fastapi",
    "pydantic",
    "yaml",
)


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from assistant.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"sys.exit(str([name for name in {HEAVY} if name in sys.modules] or ''))"
    )
    seconds = []
    for _ in range(3):
        before = _cpu_s()
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(_cpu_s() - before)
        assert result.stderr.strip() == ""
    assert all(name in result.stdout for name in COMMANDS)
    assert min(seconds) < 0.3


def _cpu_s():
    """CPU time of the children so far: a busy machine must not fail the test."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(name):
    parser = build(name)
    assert COMMANDS[name][1:] in _help_text(parser, name)
    leaves = list(_leaves(parser._subparsers._group_actions[0].choices[name]))
    assert leaves
    for leaf in leaves:
        assert "--json" in leaf.format_help()
        assert "--config" in leaf.format_help()


def _help_text(parser, name):
    return " ".join(parser._subparsers._group_actions[0].choices[name].format_help().split())


def _leaves(parser):
    if parser._subparsers is None:
        yield parser
    else:
        for child in parser._subparsers._group_actions[0].choices.values():
            yield from _leaves(child)


@pytest.mark.parametrize("words", [(), ("nonsense",), ("ask", "x"), ("keys", "create"), ("ask", "--as")])
def test_wrong_usage_is_one_line_and_2(shell, words):
    assert "See `assistant" in shell.fails(*words, code=2)


def test_outside_a_workspace(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "assistant init" in shell.fails("documents", "list")


def test_another_workspace_by_config(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    documents = shell.json("documents", "list", "--config", str(shell.folder / "assistant.yaml"))
    assert len(documents) == 4


def test_a_broken_file_is_one_line(shell):
    (shell.folder / "assistant.yaml").write_text("serve: {prot: 8000}\n")
    line = shell.fails("documents", "list")
    assert "assistant.yaml" in line
    assert "serve.prot" in line
    assert "port" in line


def test_a_mistake_of_ours_is_one_line_too(shell, monkeypatch):
    def broken(_name):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(cli, "build", broken)
    assert "ASSISTANT_TRACEBACK" in shell.fails("documents", "list")


def test_interrupted(shell, monkeypatch):
    def interrupted(_name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build", interrupted)
    assert shell.fails("documents", "list", code=130) == "error: interrupted."
