"""The worker process: killed, restarted, closed."""

import os
import signal

import pytest

from assistant.errors import IngestError
from assistant.retrieval.worker import Worker


@pytest.fixture
def worker():
    worker = Worker(timeout_s=20, memory_bytes=1 << 30)
    yield worker
    worker.close()


def test_one_process_serves_many_files(worker):
    assert worker.ask(b"one", "a.md")["text"] == "one"
    first = worker._process.pid
    with pytest.raises(IngestError):
        worker.ask(b"x", "a.bin")
    assert worker.ask(b"two\n" * 100_000, "b.txt")["text"].startswith("two")
    assert worker._process.pid == first


def test_a_process_that_died_is_replaced(worker):
    worker.ask(b"one", "a.md")
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    assert worker.ask(b"two", "a.md")["text"] == "two"


def test_closing_ends_the_process(worker):
    worker.ask(b"one", "a.md")
    process = worker._process
    worker.close()
    assert process.returncode is not None
    worker.close()
    assert worker.ask(b"again", "a.md")["text"] == "again"
