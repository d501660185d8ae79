"""Nothing reads documents past their readers' permissions: the code itself is walked for it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "assistant"
PAST_ACCESS = {"get", "find", "list", "text", "unrestricted", "class_ids"}
MAY_LOOK_PAST = {
    "cli/documents.py",  # the operator of the machine, without --as
    "cli/demo.py",
    "policies/permissions.py",  # ids of classes only
}
TABLE_MODULES = ("assistant.store.schema", "assistant.store.rows")
TABLES = {"chunks", "documents", "CHUNKS", "DOCUMENTS", "INDEXED"}


def modules():
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text()) for file in ROOT.rglob("*.py")}


def is_the_store(node):
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_") in ("documents", "store")


def test_only_the_operators_commands_and_ingest_look_past_access():
    found = {
        f"{name}:{node.lineno} documents.{node.attr}"
        for name, tree in modules().items()
        if not name.startswith(("store/", "ingest")) and name not in MAY_LOOK_PAST
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in PAST_ACCESS and is_the_store(node.value)
    }
    assert found == set()


def test_only_the_store_knows_its_tables():
    found = {
        f"{name}: {alias.name}"
        for name, tree in modules().items()
        if not name.startswith("store/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in TABLE_MODULES
        for alias in node.names
        if alias.name in TABLES
    }
    assert found == set()


def test_the_permitted_set_has_one_origin():
    """Cedar's answer about classes is taken in one place, and views of the store are made of that alone."""
    asked, views = set(), set()
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "permitted" and "permissions" not in ast.unparse(node.func.value):
                    asked.add(name)
                if node.func.attr == "readable":
                    views.add((name, ast.unparse(node.args[0])))
    assert asked == {"policies/permissions.py"}
    for name, argument in views - {("store/documents.py", "self.class_ids()")}:
        assert "permitted" in argument, f"{name} reads through {argument}"


def test_no_chunk_is_read_by_its_id_but_through_a_view():
    store = modules()
    readers = {
        name
        for name in store
        if name.startswith("store/")
        for node in ast.walk(store[name])
        if isinstance(node, ast.Name) and node.id == "CHUNKS" and isinstance(node.ctx, ast.Load)
    }
    assert readers == {"store/readable.py"}
