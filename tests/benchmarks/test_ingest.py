"""The parts of the ingest benchmark that can be tried without its data."""

import json
import os
import sys

import pytest

from benchmarks import ingest
from benchmarks.figures import Options
from benchmarks.ingesting import child, corpus


def test_without_data_it_says_so(tmp_path):
    (figure,) = ingest.run(Options(data=tmp_path))
    assert figure.value is None and "--data" in figure.skipped


def test_copies_differ_and_keep_their_places(tmp_path):
    data = tmp_path / "data"
    (data / "handbooks" / "a").mkdir(parents=True)
    (data / "departments").mkdir()
    (data / "handbooks" / "a" / "one.md").write_text("One.")
    (data / "handbooks" / "a" / "LICENSE").write_text("Free.")
    (data / "departments" / "two.pdf").write_bytes(b"%PDF-")
    found = corpus.files(data, quick=False)
    folder = corpus.copied(found, data, tmp_path / "out", times=2)
    texts = sorted(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert texts == [b"%PDF-", b"%PDF-", b"One.", b"One.\n\nCopy 1.\n"]


def test_a_child_is_measured_with_its_own_children():
    work = "import subprocess, sys; subprocess.run([sys.executable, '-c', BIG]); print('{\"done\": 1}')"
    big = "import time; held = bytearray(120 << 20); time.sleep(1.5)"
    ended = child.run([sys.executable, "-c", f"BIG = {big!r}\n{work}"], env=os.environ)
    assert ended.said == {"done": 1}
    assert ended.peak_bytes > 120 << 20


@pytest.mark.parametrize("work", ["raise SystemExit('out of luck')", "pass"])
def test_a_child_that_fails_says_why(work):
    with pytest.raises(child.Failed, match="out of luck|said nothing"):
        child.run([sys.executable, "-c", work], env=os.environ)


def test_our_side_ingests_and_tells(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\nHotels cost 90 a night.")
    (tmp_path / "work").mkdir()
    command = [
        sys.executable,
        "-m",
        "benchmarks.ingesting.ours",
        str(tmp_path / "docs"),
        str(tmp_path / "work"),
    ]
    ended = child.run([*command, "--fake"], env={**os.environ, "PYTHONPATH": str(ingest.ROOT)})
    assert (ended.said["documents"], ended.said["chunks"], ended.said["second_chunks"]) == (1, 1, 0)
    assert json.dumps(ended.said)
