"""What may go wrong between an fsspec file system and an ingest."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from assistant.connectors import remote
from assistant.connectors.config import FilesSource
from assistant.connectors.retry import retried
from assistant.errors import ConfigError, IngestError


def source(url, **more):
    return FilesSource.model_validate(
        {"name": "docs", "url": url, "default": {"access": ["everyone"]}, **more}
    )


@pytest.fixture
def memory():
    return fsspec.filesystem("memory"), f"/{uuid.uuid4().hex}"


class Rough(MemoryFileSystem):
    """A memory whose next calls fail as `failures` says."""

    protocol = "rough"
    failures: list[Exception] = []
    cut = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("rough://", "memory://"))

    def _fail(self):
        if self.failures:
            raise self.failures.pop(0)

    def ls(self, path, detail=True, **more):
        self._fail()
        return super().ls(path, detail=detail, **more)

    def cat_file(self, path, start=None, end=None, **more):
        self._fail()
        data = super().cat_file(path, start=start, end=end, **more)
        return data[:-1] if self.cut else data


@pytest.fixture
def rough(memory, tmp_path, monkeypatch):
    fsspec.register_implementation("rough", Rough, clobber=True)
    monkeypatch.setattr("assistant.connectors.retry._FIRST_WAIT_S", 0.0)
    files, root = memory
    files.pipe(f"{root}/a.md", b"one")
    Rough.failures, Rough.cut = [], False
    yield source(f"rough:/{root}", retries=2).open(tmp_path)
    Rough.failures, Rough.cut = [], False


def test_what_fails_in_passing_is_tried_again(rough):
    Rough.failures = [ConnectionResetError("gone"), TimeoutError()]
    [item] = rough.discover()
    Rough.failures = [OSError("busy"), OSError("busy")]
    assert rough.fetch(item) == b"one"


@pytest.mark.parametrize("error", [PermissionError("no"), ValueError("no")])
def test_what_would_fail_the_same_way_is_not(rough, error):
    Rough.failures = [error, RuntimeError("it was tried again")]
    with pytest.raises(IngestError, match="cannot be listed: no"):
        list(rough.discover())
    assert len(Rough.failures) == 1


def test_after_the_last_try_the_listing_fails(rough):
    Rough.failures = [OSError("busy")] * 3
    with pytest.raises(IngestError, match="until then nothing of this source is changed"):
        list(rough.discover())
    assert not Rough.failures


def test_the_wait_doubles():
    waits = []

    def fails():
        raise OSError

    with pytest.raises(OSError):
        retried(fails, retries=4, sleep=waits.append)
    assert [w / 2**n for n, w in enumerate(waits)] == pytest.approx([0.375] * 4, abs=0.125)


def test_bytes_cut_short_are_not_a_document(rough):
    [item] = rough.discover()
    Rough.cut = True
    with pytest.raises(IngestError, match="2 bytes came of 3"):
        rough.fetch(item)


def test_a_file_that_grew_since_the_listing_is_read_whole(rough, memory):
    [item] = rough.discover()
    files, root = memory
    files.pipe(f"{root}/a.md", b"one and more")
    assert rough.fetch(item) == b"one and more"


def test_what_is_too_large_is_refused_before_and_after_it_is_read(memory, tmp_path):
    files, root = memory
    files.pipe({f"{root}/a.md": b"x" * 1_000_001, f"{root}/b.md": b"x"})
    connector = source(f"memory:/{root}", max_file_mb=1).open(tmp_path)
    large, small = connector.discover()
    with pytest.raises(IngestError, match="larger than 1 MB"):
        connector.fetch(large)
    files.pipe(f"{root}/b.md", b"x" * 1_000_001)
    with pytest.raises(IngestError, match="larger than 1 MB"):
        connector.fetch(small)


def test_only_a_part_named_by_a_listing_is_read(memory, tmp_path):
    files, root = memory
    files.pipe({f"{root}/docs/a.md": b"one", f"{root}/secret.md": b"secret"})
    connector = source(f"memory:/{root}/docs").open(tmp_path)
    [item] = connector.discover()
    with pytest.raises(IngestError, match="leads out"):
        connector.fetch(type(item)(uri="../secret.md", fingerprint="", size_bytes=6, labels=item.labels))


def test_a_url_of_one_file_names_the_remedy(memory, tmp_path):
    files, root = memory
    files.pipe(f"{root}/a.md", b"one")
    with pytest.raises(IngestError, match="is a file. Give the folder"):
        list(source(f"memory:/{root}/a.md").open(tmp_path).discover())


@pytest.mark.parametrize(
    ("detail", "same"),
    [
        ({"ETag": '"abc"'}, True),
        ({"mtime": 1_700_000_000}, True),
        ({"mtime": datetime(2026, 1, 2, tzinfo=UTC)}, True),
        ({"mtime": 1_800_000_000}, False),
        ({"mtime": datetime.fromtimestamp(1_800_000_000, UTC)}, False),
        ({"mtime": 1_800_000_000.25}, True),
        ({"LastModified": None}, False),
        ({}, False),
    ],
)
def test_a_fingerprint_that_could_hide_a_change_is_never_the_same(detail, same):
    first, second = (remote._fingerprint(detail, 3, now=1_800_000_001) for _ in range(2))
    assert (first == second) is same


@pytest.mark.parametrize(
    ("url", "extra"), [("gs://b", "gs"), ("az://b", "az"), ("smb://h/s", "smb"), ("abfs://b", "az")]
)
def test_a_missing_driver_names_its_extra(url, extra, tmp_path, monkeypatch):
    for module in ("gcsfs", "adlfs", "smbprotocol", "smbclient"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ConfigError, match=rf"hybrid-assistant\[{extra}\]"):
        list(source(url).open(tmp_path).discover())


def test_errors_keep_secrets(tmp_path):
    pytest.importorskip("paramiko", reason="paramiko is a development tool: make install")
    connector = source(
        "sftp://ana:hunter2@127.0.0.1:1/docs", options={"passphrase": "s3same"}, retries=0
    ).open(tmp_path)
    with pytest.raises(IngestError) as caught:
        list(connector.discover())
    assert "ana:***@" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_secrets_of_the_options_are_masked_in_what_a_driver_says():
    tree = remote.RemoteTree("s3://b", {"secret": "s3same", "client_kwargs": {"aws_session_token": "t0ken"}})
    assert tree._told(OSError("signature of s3same with t0ken for b")) == "signature of *** with *** for b"


class TestS3:
    """What object stores have that folders have not."""

    @pytest.fixture
    def bucket(self, s3):
        options, client = s3
        name = uuid.uuid4().hex
        client.create_bucket(Bucket=name)

        def put(**keys):
            for key, data in keys.items():
                client.put_object(Bucket=name, Key=key, Body=data)

        return name, put, options

    def test_prefixes_decide_who_may_read(self, bucket, tmp_path):
        name, put, options = bucket
        put(
            **{
                "docs/hr/a.md": b"one",
                "docs/hr/team/b.md": b"two",
                "docs/legal/.access.yaml": b"access: ['group:counsel']",
                "docs/legal/c.md": b"three",
                "docs2/d.md": b"of another prefix",
                "docs/folder/": b"",
                "docs/.trash/e.md": b"hidden",
                "docs/hr/empty.md": b"",
            }
        )
        connector = source(
            f"s3://{name}/docs",
            options=options,
            labels=[{"path": "{room}/team/**", "access": ["department:{room}"]}],
        ).open(tmp_path)
        found = {item.uri: sorted(item.labels.principals) for item in connector.discover()}
        assert found == {
            "hr/a.md": ["everyone"],
            "hr/empty.md": ["everyone"],
            "hr/team/b.md": ["department:hr"],
            "legal/c.md": ["group:counsel"],
        }
        empty = next(item for item in connector.discover() if item.uri == "hr/empty.md")
        assert connector.fetch(empty) == b""

    def test_an_equal_copy_is_no_change_and_a_listing_of_many_pages_is_whole(
        self, bucket, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "4")
        name, put, options = bucket
        keys = [f"{number:04}.md" for number in range(9)]
        put(**dict.fromkeys(keys, b"x"))
        connector = source(f"s3://{name}", options=options).open(tmp_path)
        before = {item.uri: item.fingerprint for item in connector.discover()}
        assert sorted(before) == keys
        put(**{"0000.md": b"x", "0001.md": b"y"})
        after = {item.uri: item.fingerprint for item in connector.discover()}
        assert {uri for uri in keys if before[uri] != after[uri]} == {"0001.md"}

    @pytest.mark.parametrize("root", ["", "/docs"])
    def test_frontmatter_is_read_by_the_beginning_only(self, bucket, tmp_path, root):
        name, put, options = bucket
        under = root.strip("/") + "/" if root else ""
        put(
            **{f"{under}a.md": b"---\naccess: ['group:managers']\n---\n" + b"x" * 40_000, f"{under}b.md": b""}
        )
        a, b = source(f"s3://{name}{root}", options=options, frontmatter=True).open(tmp_path).discover()
        assert (a.labels.principals, b.labels.principals) == ({"group:managers"}, {"everyone"})

    def test_no_bucket_is_no_empty_listing(self, s3, tmp_path):
        options, _ = s3
        with pytest.raises(IngestError, match="cannot be listed"):
            list(source(f"s3://{uuid.uuid4().hex}/x", options=options).open(tmp_path).discover())
