"""The contract suite over the connectors of this project: local, S3, memory, LangChain."""

from __future__ import annotations

import itertools
import os
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from assistant.connectors.config import FilesSource
from assistant.connectors.langchain import LangChainConnector
from assistant.testing.connector_contract import ConnectorContract, Subject
from assistant.types import Labels

_NOBODY = 65534


def connector(workspace, url, **more):
    source = FilesSource.model_validate(
        {"name": "docs", "url": url, "default": {"access": ["everyone"]}, "retries": 0, **more}
    )
    return source.open(workspace)


def subject_over(root, over):
    """A connector over a folder, which is changed past it."""

    seconds = itertools.count(1_000_000_000)  # SFTP tells whole seconds, and distrusts the current one

    def put(path, data):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        os.utime(root / path, (now := next(seconds), now))

    @contextmanager
    def broken():
        """A folder below the root cannot be listed; who may list anything is nobody meanwhile."""
        (root / "rooms").chmod(0)
        if (user := os.geteuid()) == 0:
            os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(user)
            (root / "rooms").chmod(0o755)

    return Subject(connector=over, put=put, remove=lambda path: (root / path).unlink(), broken=broken)


@pytest.fixture
def place():
    """A folder that every user of the machine may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        (Path(name) / "docs").mkdir()
        yield Path(name)


class TestLocal(ConnectorContract):
    @pytest.fixture
    def subject(self, place):
        return subject_over(place / "docs", connector(place, "docs"))


class TestMemory(ConnectorContract):
    @pytest.fixture
    def subject(self, tmp_path, monkeypatch):
        root = f"/{uuid.uuid4().hex}"
        memory = fsspec.filesystem("memory")
        memory.mkdir(root)

        @contextmanager
        def broken():
            """Below the root a folder cannot be listed: what fsspec's own walk leaves out in silence."""
            listed = type(memory).ls

            def ls(self, path, detail=True, **more):
                if path.endswith("rooms"):
                    raise OSError("the disk is on fire")
                return listed(self, path, detail=detail, **more)

            with monkeypatch.context() as patch:
                patch.setattr(type(memory), "ls", ls)
                yield

        return Subject(
            connector=connector(tmp_path, f"memory:/{root}"),
            put=lambda path, data: memory.pipe(f"{root}/{path}", data),
            remove=lambda path: memory.rm(f"{root}/{path}"),
            broken=broken,
        )


class TestS3(ConnectorContract):
    @pytest.fixture
    def subject(self, tmp_path, s3):
        options, client = s3
        bucket = uuid.uuid4().hex
        client.create_bucket(Bucket=bucket)

        return Subject(
            connector=connector(tmp_path, f"s3://{bucket}/docs", options=options),
            put=lambda path, data: client.put_object(Bucket=bucket, Key=f"docs/{path}", Body=data),
            remove=lambda path: client.delete_object(Bucket=bucket, Key=f"docs/{path}"),
            broken=gone(client, bucket),
        )


def gone(client, bucket):
    @contextmanager
    def broken():
        """The bucket is away for a while."""
        held = {}
        for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
            held[item["Key"]] = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            client.delete_object(Bucket=bucket, Key=item["Key"])
        client.delete_bucket(Bucket=bucket)
        yield
        client.create_bucket(Bucket=bucket)
        for key, data in held.items():
            client.put_object(Bucket=bucket, Key=key, Body=data)

    return broken


class TestSftp(ConnectorContract):
    @pytest.fixture
    def subject(self, place, monkeypatch):
        servers = pytest.importorskip("servers", reason="paramiko is a development tool: make install")
        (place / ".ssh").mkdir()
        monkeypatch.setenv("HOME", str(place))
        with servers.sftp(place) as (port, key):
            known = f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"
            (place / ".ssh" / "known_hosts").write_text(known)
            url = f"sftp://{servers.USER}@127.0.0.1:{port}/docs"
            options = {"password": servers.PASSWORD, "allow_agent": False, "look_for_keys": False}
            yield subject_over(place / "docs", connector(place, url, options=options))


class TestWebdav(ConnectorContract):
    @pytest.fixture
    def subject(self, place):
        pytest.importorskip("webdav4", reason="webdav4 is a development tool: make install")
        servers = pytest.importorskip("servers", reason="paramiko is a development tool: make install")
        with servers.webdav(place) as url:
            options = {"base_url": url, "trust_env": False}
            yield subject_over(place / "docs", connector(place, "webdav://127.0.0.1/docs", options=options))


class Held(BaseLoader):
    def __init__(self):
        self.pages = {}
        self.fails = False

    def lazy_load(self):
        for number, (path, data) in enumerate(self.pages.items()):
            if self.fails and number:
                raise OSError("no network")
            yield Document(page_content=data.decode(), metadata={"source": f"held://{path}"})


class TestLangChain(ConnectorContract):
    @pytest.fixture
    def subject(self):
        loader = Held()

        @contextmanager
        def broken():
            loader.fails = True
            yield
            loader.fails = False

        labels = Labels(source="held", principals=frozenset({"everyone"}))
        return Subject(
            connector=LangChainConnector("held", loader, labels),
            put=loader.pages.__setitem__,
            remove=loader.pages.__delitem__,
            uri=lambda path: f"held://{path}",
            broken=broken,
        )
