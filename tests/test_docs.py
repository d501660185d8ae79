from __future__ import annotations

import json
import re
import sys
import types
import typing
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from assistant.adapters.config import DepartmentConfig
from assistant.config import HttpEngine, HubSource, ModelPin, PackageSource, PathSource, Settings
from assistant.connectors.config import FilesSource, LabelRule
from assistant.policies.schema import Case, CasePassage, Check, RuleFile, When

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))


def _text(name):
    return (DOCS / name).read_text(encoding="utf-8")


def _models(annotation):
    """Every pydantic model inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _settings(model=Settings, prefix=""):
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        inside = _models(field.annotation)
        if inside and name != "catalogue":
            for section in inside:
                yield from _settings(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("key", sorted(set(_settings())))
def test_every_setting_is_documented(key):
    assert f"| `{key}` |" in _text("configuration.md")


def test_every_documented_setting_exists():
    known = {*_settings(), "connectors"}
    top = _text("configuration.md").partition("## Connectors")[0]
    documented = set(re.findall(r"^\| `([a-z_]+(?:\.[a-z_]+)*)` \|", top, re.M))
    assert documented - known <= set(ModelPin.model_fields)


@pytest.mark.parametrize("key", sorted(set(_settings())))
def test_every_documented_default_is_the_default(key):
    row = re.search(rf"^\| `{re.escape(key)}` \| (.*?) \|", _text("configuration.md"), re.M)
    found = re.fullmatch(r"`(.*)`", row[1])
    default = _default(key)
    if found:
        assert found[1] == (str(default).lower() if isinstance(default, bool) else str(default))
    else:
        assert row[1] in ("required", "none", "empty", "all cores")


def _default(key):
    first, *rest = key.split(".")
    value = Settings.model_fields[first].get_default(call_default_factory=True)
    for name in rest:
        if name in type(value).model_fields:
            value = getattr(value, name)
        else:
            value = HttpEngine.model_fields[name].default
    return value


@pytest.mark.parametrize(
    ("page", "model"),
    [
        ("configuration.md", ModelPin),
        ("configuration.md", HubSource),
        ("configuration.md", PathSource),
        ("configuration.md", PackageSource),
        ("configuration.md", FilesSource),
        ("configuration.md", LabelRule),
        ("configuration.md", DepartmentConfig),
        ("policies.md", When),
        ("policies.md", Case),
        ("policies.md", CasePassage),
    ],
)
def test_every_key_of_a_file_is_documented(page, model):
    text = _text(page)
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_kind_of_rule_is_documented():
    kinds = [typing.get_args(m.model_fields["kind"].annotation)[0] for m in _models(Check)]
    assert kinds
    assert [kind for kind in kinds if f"| `{kind}` |" not in _text("policies.md")] == []


def test_generated_pages_are_current(monkeypatch):
    import generate

    for name, text in generate.texts().items():
        assert _text(name) == text, f"docs/{name} is out of date: run `make docs`"


def _blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", _text(page), re.M | re.S)


@pytest.mark.parametrize("block", _blocks("models.md", "yaml"))
def test_examples_of_configuration_are_valid(block):
    data = yaml.safe_load(
        block.replace("sha256: …", f"sha256: {'0' * 64}").replace(
            f"sha256: {'0' * 64}", f"sha256: '{'0' * 64}'"
        )
    )
    Settings.model_validate(data)


def test_examples_of_rules_are_valid_and_their_cases_hold():
    from assistant.policies.cases import failures

    blocks = [yaml.safe_load(block) for block in _blocks("policies.md", "yaml")]
    files = [RuleFile.model_validate(block) for block in blocks if block and "rules" in block]
    assert files
    assert [list(failures(rule)) for file in files for rule in file.rules] == [[]]


def test_the_example_connector_is_valid():
    [block] = _blocks("configuration.md", "yaml")
    assert FilesSource.model_validate(yaml.safe_load(block)).name == "handbook"


def test_cedar_examples_are_valid():
    from assistant.policies.access import Access

    for block in _blocks("policies.md", "cedar"):
        Access(block)
    inline = re.findall(r"`((?:resource has|principal\.hasTag).*?)`", _text("policies.md"), re.S)
    assert len(inline) == 2
    for condition in inline:
        Access(
            'permit (principal is User, action == Action::"read", resource is DocumentClass) '
            f"when {{ {condition} }};"
        )


def test_links_between_pages_lead_somewhere():
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_schema_accepts_the_sample_rules():
    schema = json.loads(_text("rules.schema.json"))
    assert isinstance(schema["$defs"], dict)
    assert "user.department" in schema["$defs"]["When"]["properties"]
    assert types.MappingProxyType(schema)["title"] == "RuleFile"
