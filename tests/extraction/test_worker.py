"""The worker process: killed, restarted, closed."""

import io
import os
import signal
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from assistant.errors import IngestError
from assistant.extraction import worker as worker_module
from assistant.extraction.limits import Limits
from assistant.extraction.worker import Worker


@pytest.fixture
def worker():
    worker = Worker(Limits(timeout_s=20))
    yield worker
    worker.close()


def test_one_process_serves_many_files(worker):
    assert worker.read(b"one", "a.md").text == "one"
    first = worker._process.pid
    with pytest.raises(IngestError):
        worker.read(b"x", "a.bin")
    assert worker.read(b"two\n" * 100_000, "b.txt").text.startswith("two")
    assert worker._process.pid == first


def test_a_process_that_died_is_replaced(worker):
    worker.read(b"one", "a.md")
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    assert worker.read(b"two", "a.md").text == "two"


def test_a_process_that_read_many_files_is_replaced(worker, monkeypatch):
    monkeypatch.setattr(worker_module, "_RECYCLE_FILES", 3)
    for number in range(7):
        assert worker.read(b"one", f"{number}.md").text == "one"
    assert worker.starts == 3


def test_closing_ends_the_process(worker):
    worker.read(b"one", "a.md")
    process = worker._process
    worker.close()
    assert process.returncode is not None
    worker.close()
    assert worker.read(b"again", "a.md").text == "again"


def hostile(tmp_path, monkeypatch, body):
    """A reader plug-in for `.trap` files that does what `body` says, seen by worker processes only."""
    (tmp_path / "trap.py").write_text(f"import os, time\ndef read(data, uri):\n    {body}\n")
    folder = tmp_path / "trap-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: trap\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[assistant.extractors]\ntrap = trap\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("time.sleep(60)", "longer than 3 s"),
        ("x = bytearray(1 << 30)", "memory"),
        ("os.abort()", "MiB of memory, or nests"),
        ("os.kill(os.getpid(), 9)", "out of memory"),
        ("os._exit(0)", "broke its process"),
        ("pass", "returned no Extracted"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_every_death_has_a_name_and_the_next_file_is_read(tmp_path, monkeypatch, body, words):
    hostile(tmp_path, monkeypatch, body)
    worker = Worker(Limits(timeout_s=3, memory_bytes=700 << 20))
    try:
        worker.read(b"warm", "a.md")
        with pytest.raises(IngestError, match=words):
            worker.read(b"x", "a.trap")
        assert worker.read(b"fine", "a.md").text == "fine"
    finally:
        worker.close()


def test_closing_ends_a_process_that_is_reading_and_tells_who_waits(tmp_path, monkeypatch):
    began = tmp_path / "began"
    hostile(tmp_path, monkeypatch, f"open({str(began)!r}, 'w').close() or time.sleep(3600)")
    worker = Worker(Limits(timeout_s=3600))
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(worker.read, b"x", "a.trap")
        while not began.exists():
            assert not reading.done()
            time.sleep(0.05)
        worker.close()
        with pytest.raises(IngestError, match="broke its process"):
            reading.result()
    assert (worker.pid, worker.starts) == (None, 1)
    assert worker.read(b"again", "a.md").text == "again"
    worker.close()


def test_a_deadly_member_costs_only_itself(tmp_path, monkeypatch):
    hostile(tmp_path, monkeypatch, "os.abort() if b'kill' in data else 1 / 0")
    inner = zipped({"d.md": "d", "kill.trap": "kill", "e.md": "e"})
    data = zipped({"a.md": "a", "kill.trap": "kill", "b.trap": "x", "in.zip": inner, "c.md": "c"})
    worker = Worker(Limits(timeout_s=20))
    try:
        extracted = worker.read(data, "all.zip")
    finally:
        worker.close()
    said = {
        member.uri: member.extracted.text if member.extracted else member.reason
        for member in extracted.members
    }
    assert {name: said[name] for name in ("a.md", "in.zip!/d.md", "in.zip!/e.md", "c.md")} == {
        "a.md": "a",
        "in.zip!/d.md": "d",
        "in.zip!/e.md": "e",
        "c.md": "c",
    }
    assert "broke its process" in said["kill.trap"] and "broke its process" in said["in.zip!/kill.trap"]
    assert "ZeroDivisionError" in said["b.trap"]


def test_too_many_deadly_members_end_the_archive_with_a_notice(tmp_path, monkeypatch):
    hostile(tmp_path, monkeypatch, "os.abort()")
    worker = Worker(Limits(timeout_s=20))
    try:
        extracted = worker.read(zipped({f"{n}.trap": "x" for n in range(9)} | {"z.md": "z"}), "all.zip")
    finally:
        worker.close()
    assert 2 < len(extracted.members) < 9
    assert "Not everything inside was read" in extracted.notices[-1]


def zipped(members):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()
