"""What is fastest here is measured once and remembered."""

import json

import pytest
import torch

from assistant.retrieval import embedding_speed
from assistant.retrieval.embedding_speed import BATCHES, Shape, Speed, fastest
from assistant.retrieval.workers import Workers

SMALL = Shape(width=32, inner=64, heads=4, threads=2)


@pytest.fixture
def measured(monkeypatch):
    """Count measurements."""
    calls = []
    real = embedding_speed.measured

    def counted(shape, dtypes):
        calls.append(shape)
        return real(shape, dtypes)

    monkeypatch.setattr(embedding_speed, "measured", counted)
    return calls


def test_a_way_to_embed_is_found_by_trying():
    speed = fastest(SMALL, dtypes=("float32",))
    assert speed.dtype == "float32" and speed.batch_tokens in BATCHES and speed.workers == 2


def test_it_is_measured_once_for_a_machine_and_shape(tmp_path, measured):
    file = tmp_path / "indexes" / "speed.json"
    first = fastest(SMALL, file, dtypes=("float32",))
    assert fastest(SMALL, file, dtypes=("float32",)) == first and measured == [SMALL]
    wider = Shape(width=64, inner=64, heads=4, threads=2)
    fastest(wider, file, dtypes=("float32",))
    assert measured == [SMALL, wider] and len(json.loads(file.read_text())) == 2
    assert [path.name for path in file.parent.iterdir()] == ["speed.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"dtype": "float32", "more": 1}}'])
def test_a_damaged_memory_is_written_anew(tmp_path, measured, content):
    file = tmp_path / "speed.json"
    file.write_text(content)
    found = fastest(SMALL, file, dtypes=("float32",))
    assert Speed(**next(iter(json.loads(file.read_text()).values()))) == found


def test_a_folder_that_cannot_be_written_costs_only_the_measurement(tmp_path):
    (tmp_path / "file").write_text("")
    assert fastest(SMALL, tmp_path / "file" / "speed.json", dtypes=("float32",)).workers == 2


def test_workers_have_one_thread_each_and_leave_the_others_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        workers = Workers(3)
        assert set(workers.map(lambda _: torch.get_num_threads(), range(6))) == {1}
        assert torch.get_num_threads() == 2
        assert list(workers.map(lambda number: number * 2, range(5))) == [0, 2, 4, 6, 8]
        workers.close()
    finally:
        torch.set_num_threads(before)
