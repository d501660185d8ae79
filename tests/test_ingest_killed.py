"""Twenty ingests killed at random moments: nothing acknowledged is lost, nothing is doubled."""

import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from assistant.store.database import Database
from assistant.store.documents import Documents
from assistant.testing.embedder import FakeEmbedder

CHILD = Path(__file__).with_name("ingest_killed_child.py")
ROOT = Path(__file__).parents[1]
KILLS = 20


def child():
    spec = importlib.util.spec_from_file_location("ingest_killed_child", CHILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(docs, number, version):
    sections = "\n\n".join(
        f"## Part {n}\n\nRule {number}.{n} in version {version} says no." for n in range(3)
    )
    (docs / f"rule-{number:02}.md").write_text(f"# Rule {number}\n\n{sections}\n")


@pytest.fixture
def server():
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    yield process
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def killed(server, folder, delay_s):
    """Run an ingest, kill it, and return what it had acknowledged."""
    server.stdin.write(f"{folder}\n")
    server.stdin.flush()
    ready, pid = server.stdout.readline().split()
    assert ready == "ready"
    time.sleep(delay_s)
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid), signal.SIGKILL)
    lines = iter(server.stdout.readline, "ended\n")
    return [line.split() for line in lines if "rule-" in line]


def contents(folder):
    """Everything that an ingest decides, without ids and times."""
    database = Database.open(f"sqlite:///{folder}/var/assistant.db")
    documents = Documents(database)
    found = {}
    changes = documents.changes(0, FakeEmbedder.digest)
    everyone = frozenset(known.id for known in documents.classes())
    living = documents.readable(everyone).chunks([chunk.id for chunk in changes.upserted])
    assert len(living) == len(changes.upserted)
    assert not set(changes.removed) & set(living)
    for chunk in changes.upserted:
        piece, document = living[chunk.id]
        assert documents.text(document.id)[piece.start : piece.end] == piece.text
        key = (document.uri, document.content_digest, piece.ordinal)
        assert key not in found, "a chunk stands twice"
        found[key] = (piece.text, piece.headings, chunk.vector.tobytes())
    with database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        assert connection.execute(text("SELECT count(*) FROM chunks")).scalar_one() == len(found)
    digests = {document.uri: document.content_digest for document in documents.list()}
    database.close()
    return found, digests


def test_kills_lose_nothing_and_double_nothing(tmp_path, server):
    chance = random.Random(7)
    folder, clean = tmp_path / "killed", tmp_path / "clean"
    docs = folder / "docs"
    docs.mkdir(parents=True)
    for number in range(40):
        write(docs, number, 0)
    interrupted = 0
    for kill in range(1, KILLS + 1):
        acknowledged = killed(server, folder, chance.uniform(0.0, 0.5))
        interrupted += len(acknowledged) < 40
        present = contents(folder)[1] if acknowledged else {}
        for outcome, uri in acknowledged:
            assert (uri in present) is (outcome != "removed"), f"{uri} was {outcome}, then lost"
        for number in chance.sample(range(40), 20):
            write(docs, number, kill)
        (docs / f"rule-{chance.randrange(40):02}.md").unlink(missing_ok=True)
    assert interrupted > KILLS // 2, "the kills came too late to test anything"
    module = child()
    module.main(folder, pause_s=0)
    clean.mkdir()
    (clean / "docs").symlink_to(docs)
    module.main(clean, pause_s=0)
    assert contents(folder) == contents(clean)
    again = module.main(folder, pause_s=0)
    assert (again.added, again.changed, again.removed, again.refused) == (0, 0, 0, ())
