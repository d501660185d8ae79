"""Folders and fsspec URLs as sources."""

import os
import uuid

import fsspec
import pytest

from assistant.connectors.config import FilesSource
from assistant.connectors.files import Files
from assistant.errors import ConfigError, IngestError


def source(url="docs", **more):
    return FilesSource.model_validate(
        {"name": "docs", "url": url, "default": {"access": ["group:managers"]}, **more}
    )


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    (folder / "hr" / "team").mkdir(parents=True)
    (folder / "hr" / "a.md").write_text("one")
    (folder / "hr" / "team" / "b.md").write_text("two")
    return folder


def uris(files):
    return [item.uri for item in files.discover()]


def test_files_are_listed_with_labels_and_read(tmp_path, docs):
    files = Files(source(labels=[{"path": "hr/*", "access": ["everyone"]}]), workspace=tmp_path)
    first, second = files.discover()
    assert (first.uri, first.size_bytes, first.labels.principals) == ("hr/a.md", 3, {"everyone"})
    assert (second.uri, second.labels.principals) == ("hr/team/b.md", {"group:managers"})
    assert first.labels.source == "docs"
    assert files.fetch(second) == b"two"


def test_a_fingerprint_changes_with_the_file_only(tmp_path, docs):
    files = Files(source(), workspace=tmp_path)
    before = {item.uri: item.fingerprint for item in files.discover()}
    assert before == {item.uri: item.fingerprint for item in files.discover()}
    (docs / "hr" / "a.md").write_text("uno")
    os.utime(docs / "hr" / "a.md", ns=(1, 1))
    after = {item.uri: item.fingerprint for item in files.discover()}
    assert before["hr/a.md"] != after["hr/a.md"]
    assert before["hr/team/b.md"] == after["hr/team/b.md"]


def test_dot_files_lock_files_and_excluded_paths_are_no_documents(tmp_path, docs):
    for name in (".env", "~$a.docx", "draft-1.md"):
        (docs / name).write_text("x")
    (docs / ".git").mkdir()
    (docs / ".git" / "config.txt").write_text("x")
    files = Files(source(exclude=["draft-*"]), workspace=tmp_path)
    assert uris(files) == ["hr/a.md", "hr/team/b.md"]


def test_only_included_paths_are_documents(tmp_path, docs):
    (docs / "hr" / "b.pdf").write_text("x")
    assert uris(Files(source(include=["**/*.pdf"]), workspace=tmp_path)) == ["hr/b.pdf"]


def test_a_large_file_is_refused(tmp_path, docs):
    with open(docs / "hr" / "a.md", "wb") as file:
        file.truncate(1_000_001)
    files = Files(source(max_file_mb=1), workspace=tmp_path)
    with pytest.raises(IngestError, match="larger than 1 MB"):
        files.fetch(next(files.discover()))


def test_a_root_that_goes_away_while_it_is_listed_lost_nothing(tmp_path, docs, monkeypatch):
    listed = os.scandir

    def scandir(path):
        found = list(listed(path))
        if path.endswith("/hr"):
            docs.rename(tmp_path / "away")
        return found

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(IngestError, match="does not exist"):
        uris(Files(source(), workspace=tmp_path))


@pytest.mark.parametrize(
    ("text", "principals"),
    [
        ("---\ntitle: x\naccess: [everyone]\n---\nText", {"everyone"}),
        ("\ufeff---\r\naccess: [everyone]\r\n---\r\n", {"everyone"}),
        ("---\naccess: [everyone]\n...\n", {"everyone"}),
        ('---\n"\\x61ccess": [everyone]\n---\n', {"everyone"}),
        ("---\n{title: x, 'access': [everyone]}\n---\n", {"everyone"}),
        ("---\ntitle: x\n---\n", {"group:managers"}),
        ("Text\n---\naccess: [everyone]\n---\n", {"group:managers"}),
        ("---\n\nA rule, and text.\n", {"group:managers"}),
        ("---\nA rule.\n---\n", {"group:managers"}),
    ],
)
def test_a_document_carries_its_own_labels(tmp_path, docs, text, principals):
    (docs / "hr" / "a.md").write_text(text, newline="")
    first, _ = Files(source(frontmatter=True), workspace=tmp_path).discover()
    assert first.labels.principals == principals
    plain, _ = Files(source(), workspace=tmp_path).discover()
    assert plain.labels.principals == {"group:managers"}, "only where the connector says so"


@pytest.mark.parametrize(
    "data",
    [
        b"---\naccess: everyone\n---\n",
        b"---\naccess: [x\n---\n",
        b"---\nclassification: secret\n---\n",
        b"---\naccess: [everyone]\n" + b"#" * 20_000,
        "---\naccess: [everyone]\n---\n".encode("utf-16"),
    ],
)
def test_a_document_whose_labels_cannot_be_read_is_nobody_s(tmp_path, docs, data):
    (docs / "hr" / "a.md").write_bytes(data)
    files = Files(source(frontmatter=True), workspace=tmp_path)
    first, second = files.discover()
    assert (first.labels.principals, second.labels.principals) == (frozenset(), {"group:managers"})
    with pytest.raises(IngestError, match=r"hr/a\.md"):
        files.fetch(first)
    assert files.fetch(second) == b"two"
    (docs / "hr" / "a.md").write_text("---\naccess: [everyone]\n---\n")
    assert next(files.discover()).labels.principals == {"everyone"}
    assert files.fetch(first).startswith(b"---")


def test_only_a_part_can_be_listed(tmp_path, docs):
    (docs / "hr" / "team.md").write_text("x")
    assert uris(Files(source(), workspace=tmp_path, under="hr/team/")) == ["hr/team/b.md"]
    assert uris(Files(source(), workspace=tmp_path, under="hr/a.md")) == ["hr/a.md"]


def test_a_folder_carries_its_own_labels(tmp_path, docs):
    (docs / "hr" / ".access.yaml").write_text("access: [everyone]\ndepartment: hr\n")
    (docs / "hr" / "team" / ".access.yaml").write_text("access: ['department:hr']\n")
    first, second = Files(source(), workspace=tmp_path).discover()
    assert (first.labels.principals, first.labels.department) == ({"everyone"}, "hr")
    assert (second.labels.principals, second.labels.department) == ({"department:hr"}, "hr")


def test_a_wrong_folder_file_stops_the_listing(tmp_path, docs):
    (docs / "hr" / ".access.yaml").write_text("access: [anyone]")
    with pytest.raises(ConfigError, match=r"hr/\.access\.yaml"):
        uris(Files(source(), workspace=tmp_path))


def test_links_never_lead_out_of_the_root(tmp_path, docs):
    secret = tmp_path / "secret.md"
    secret.write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c.md").write_text("secret")
    (docs / "link.md").symlink_to(secret)
    (docs / "inside.md").symlink_to(docs / "hr" / "a.md")
    (docs / "folder").symlink_to(tmp_path / "outside")
    (docs / "loop").symlink_to(docs)
    (docs / "nothing.md").symlink_to(docs / "missing.md")
    files = Files(source(), workspace=tmp_path)
    items = {item.uri: item for item in files.discover()}
    assert list(items) == ["hr/a.md", "hr/team/b.md", "inside.md", "link.md"]
    assert files.fetch(items["inside.md"]) == b"one"
    with pytest.raises(IngestError, match="leads out"):
        files.fetch(items["link.md"])


def test_a_pipe_is_no_document(tmp_path, docs):
    os.mkfifo(docs / "pipe.md")
    files = Files(source(), workspace=tmp_path)
    pipe = next(item for item in files.discover() if item.uri == "pipe.md")
    with pytest.raises(IngestError, match="plain file"):
        files.fetch(pipe)


def test_a_vanished_file_and_a_missing_root_are_told_apart(tmp_path, docs):
    files = Files(source(), workspace=tmp_path)
    item = next(files.discover())
    (docs / "hr" / "a.md").unlink()
    with pytest.raises(FileNotFoundError):
        files.fetch(item)
    with pytest.raises(IngestError, match="does not exist"):
        uris(Files(source("nowhere"), workspace=tmp_path))


def test_any_fsspec_url_is_a_source(tmp_path):
    root = f"/{uuid.uuid4().hex}"
    memory = fsspec.filesystem("memory")
    memory.pipe(
        {
            f"{root}/hr/a.md": b"one",
            f"{root}/hr/.access.yaml": b"access: [everyone]",
            f"{root}/.hidden/b.md": b"two",
        }
    )
    files = Files(source(f"memory:/{root}"), workspace=tmp_path)
    (item,) = files.discover()
    assert (item.uri, item.labels.principals) == ("hr/a.md", {"everyone"})
    assert files.fetch(item) == b"one"
    memory.pipe(f"{root}/hr/a.md", b"uno")
    assert next(files.discover()).fingerprint != item.fingerprint
    memory.rm(f"{root}/hr/a.md")
    with pytest.raises(FileNotFoundError):
        files.fetch(item)


def test_an_unknown_scheme_says_so(tmp_path):
    with pytest.raises(IngestError, match="cannot be opened"):
        uris(Files(source("gopher://x/y"), workspace=tmp_path))
