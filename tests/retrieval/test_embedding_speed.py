"""What is fastest here is measured once and remembered."""

import json
from threading import Barrier

import pytest
import torch

from assistant.retrieval import embedding_speed
from assistant.retrieval.embedding_speed import BATCHES, Shape, Speed, fastest
from assistant.retrieval.workers import Workers

SMALL = Shape(width=32, inner=64, heads=4, threads=2)


class Noted:
    """A layer that notes when it is used."""

    def __init__(self, layer, used):
        self.width, self.dtype = layer.width, layer.dtype
        self._layer, self._used = layer, used

    def __call__(self, states, lengths):
        self._used.append(self._layer)
        return self._layer(states, lengths)


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


def test_all_workers_are_timed_at_once():
    workers, together = Workers(2), Barrier(2, timeout=10)
    try:
        assert embedding_speed._seconds({"way": together.wait}, workers)["way"] < 10
    finally:
        workers.close()


def test_layers_take_turns_so_that_their_weights_come_from_memory():
    layers = embedding_speed._layers(SMALL, "float32", prepacked=False)
    used = []
    work = embedding_speed._work([Noted(layer, used) for layer in layers], 256)
    for _ in range(4):
        work()
    assert used == [*layers, layers[0]] and len({id(layer) for layer in layers}) == len(layers) > 1


def test_the_smallest_batch_that_costs_nearly_the_least_a_text_is_taken(monkeypatch):
    """Of 100 tokens each: batches of 128 hold one, of 1,024 ten."""
    seconds = {128: 0.010, 256: 0.018, 512: 0.041, 1024: 0.0815}
    monkeypatch.setattr(
        embedding_speed, "_seconds", lambda works, workers: {way: seconds.get(way, 1.0) for way in works}
    )
    assert embedding_speed.measured.__wrapped__(SMALL, ("float32",)).batch_tokens == 512


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
