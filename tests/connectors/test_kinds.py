"""Kinds of connectors: built in, of a package, beside the file."""

from __future__ import annotations

import sys

import pytest

from assistant.connectors.config import FilesSource, load_source, load_sources
from assistant.errors import ConfigError

PLUG_IN = """
from __future__ import annotations
from typing import Literal
from assistant.connectors.base import Item, Source
from assistant.types import Labels

class Connector(Source):
    kind: str
    space: str

    def open(self, workspace):
        return Space(self.name, self.space)

class Space:
    def __init__(self, name, space):
        self.name, self.space = name, space

    def discover(self):
        yield Item(uri=self.space, fingerprint="1", size_bytes=2,
                   labels=Labels(source=self.name, principals=frozenset({"everyone"})))

    def fetch(self, item):
        return b"hi"
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install packages that offer connectors, each with a module of its own."""

    def install(name, kind, code=PLUG_IN, attribute="Connector"):
        module = name.replace("-", "_")
        site = tmp_path / "site"
        (site / f"{module}-1.dist-info").mkdir(parents=True)
        (site / f"{module}.py").write_text(code)
        (site / f"{module}-1.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
        (site / f"{module}-1.dist-info" / "entry_points.txt").write_text(
            f"[assistant.connectors]\n{kind} = {module}:{attribute}\n"
        )
        monkeypatch.syspath_prepend(str(site))
        return module

    before = set(sys.modules)
    yield install
    for module in set(sys.modules) - before:
        del sys.modules[module]


def written(tmp_path, text):
    file = tmp_path / "wiki.yaml"
    file.write_text(text)
    return file


def test_a_package_offers_a_kind(tmp_path, package):
    package("wiki-reader", "wiki")
    source = load_source(written(tmp_path, "name: hr-wiki\nkind: wiki\nspace: HR\n"))
    connector = source.open(tmp_path)
    [item] = connector.discover()
    assert (connector.name, item.uri, connector.fetch(item)) == ("hr-wiki", "HR", b"hi")


def test_a_package_is_imported_only_when_a_file_names_it(tmp_path, package):
    module = package("loud-reader", "loud", "raise SystemError('imported')")
    (tmp_path / "docs.yaml").write_text("name: docs\nurl: docs\ndefault: {access: [everyone]}\n")
    assert isinstance(load_sources(tmp_path)["docs"], FilesSource)
    assert module not in sys.modules
    with pytest.raises(ConfigError, match=r"kind `loud` cannot be loaded: SystemError: imported"):
        load_source(written(tmp_path, "name: x\nkind: loud\n"))


def test_its_keys_are_checked_like_ours(tmp_path, package):
    package("wiki-reader2", "wiki2")
    with pytest.raises(ConfigError, match=r"wiki.yaml: key `space` is missing"):
        load_source(written(tmp_path, "name: x\nkind: wiki2\n"))
    with pytest.raises(ConfigError, match=r"unknown key `colour`"):
        load_source(written(tmp_path, "name: x\nkind: wiki2\nspace: HR\ncolour: red\n"))


def test_two_packages_of_one_kind_are_a_mistake(tmp_path, package):
    package("reader-one", "twice")
    package("reader-two", "twice")
    with pytest.raises(ConfigError, match="reader-one, reader-two|reader-two, reader-one"):
        load_source(written(tmp_path, "name: x\nkind: twice\n"))


def test_no_package_replaces_a_built_in_kind(tmp_path, package):
    module = package("shadow", "files")
    source = load_source(written(tmp_path, "name: x\nkind: files\nurl: .\ndefault: {access: [everyone]}\n"))
    assert isinstance(source, FilesSource)
    assert module not in sys.modules


def test_what_is_no_source_is_refused(tmp_path, package):
    package("odd-reader", "odd", "Connector = 3")
    with pytest.raises(ConfigError, match="no subclass"):
        load_source(written(tmp_path, "name: x\nkind: odd\n"))


def test_nobody_offers_it(tmp_path):
    with pytest.raises(ConfigError, match="Known: files, langchain"):
        load_source(written(tmp_path, "name: x\nkind: wiki\n"))


def test_a_file_beside_it_offers_a_kind(tmp_path):
    (tmp_path / "space.py").write_text(PLUG_IN)
    [item] = load_source(written(tmp_path, "name: x\nkind: space.py\nspace: HR\n")).open(tmp_path).discover()
    assert item.uri == "HR"


@pytest.mark.parametrize("kind", ["gone.py", "../gone.py"])
def test_a_file_that_is_not_beside_it_is_none(tmp_path, kind):
    with pytest.raises(ConfigError, match="does not exist"):
        load_source(written(tmp_path, f"name: x\nkind: {kind}\n"))


def test_a_langchain_loader_by_name(tmp_path, package):
    package(
        "page-loader",
        "unused",
        "from langchain_core.document_loaders import BaseLoader\n"
        "from langchain_core.documents import Document\n"
        "class Pages(BaseLoader):\n"
        "    def __init__(self, pages): self.pages = pages\n"
        "    def lazy_load(self):\n"
        "        for page in self.pages:\n"
        "            yield Document(page_content=page, metadata={'source': f'legal/{page}'})\n",
    )
    text = (
        "name: feed\nkind: langchain\nloader: page_loader:Pages\narguments: {pages: [one, two]}\n"
        "default: {access: [everyone]}\nlabels: [{path: '{room}/one', access: ['department:{room}']}]\n"
    )
    one, two = load_source(written(tmp_path, text)).open(tmp_path).discover()
    assert (one.uri, one.labels.principals) == ("legal/one", {"department:legal"})
    assert (two.labels.principals, two.labels.source) == ({"everyone"}, "feed")


@pytest.mark.parametrize(
    ("loader", "said"),
    [("nowhere:Pages", "No module named"), ("pathlib:Path", "no LangChain document loader")],
)
def test_what_is_no_loader_is_told(tmp_path, loader, said):
    text = f"name: feed\nkind: langchain\nloader: {loader}\ndefault: {{access: [everyone]}}\n"
    with pytest.raises(ConfigError, match=said):
        load_source(written(tmp_path, text)).open(tmp_path)
