"""Reading and embedding side by side: order, bounds, and what is computed together."""

import threading

import numpy as np
import pytest

from assistant.connectors.base import Item
from assistant.ingesting import flow as module
from assistant.ingesting.flow import flow
from assistant.ingesting.plan import Step
from assistant.ingesting.reading import Piece, Read
from assistant.store.records import NewDocument
from assistant.types import Labels

LABELS = Labels(source="docs", principals=frozenset({"everyone"}))


def step(number, size_bytes=10):
    return Step(item=Item(uri=f"{number}.md", fingerprint="1", size_bytes=size_bytes, labels=LABELS))


def piece(uri, *texts):
    document = NewDocument(
        source="docs",
        uri=uri,
        title=uri,
        media_type="text/plain",
        content_digest=uri,
        fingerprint="1",
        size_bytes=1,
        labels=LABELS,
        text=" ".join(texts),
    )
    return Piece(document=document, chunks=(), texts=texts)


def rows(texts):
    return np.array([[float(text), 1.0] for text in texts], dtype=np.float32).reshape(-1, 2)


def test_results_come_in_order_whoever_is_read_first():
    first_may_end = threading.Event()

    def read(step):
        if step.item.uri == "0.md":
            assert first_may_end.wait(10)
        if step.item.uri == "3.md":
            first_may_end.set()
        return Read(step=step, pieces=(piece(step.item.uri, step.item.uri[0]),))

    found = list(flow(map(step, range(5)), read=read, embed=rows, readers=2))
    assert [read.step.item.uri for read, _ in found] == [f"{number}.md" for number in range(5)]
    assert [vectors[0][0, 0] for _, vectors in found] == [0, 1, 2, 3, 4]


def test_texts_of_several_documents_go_together_and_equal_ones_once():
    calls = []
    gate = threading.Event()

    def read(step):
        if step.item.uri != "0.md":
            gate.wait(10)
        number = step.item.uri[0]
        return Read(step=step, pieces=(piece(f"{number}!/a", number, "7"), piece(number, "7")))

    def embed(texts):
        calls.append(texts)
        if len(calls) == 1:
            gate.set()
            while threading.active_count() and not all(done.is_set() for done in read_all):
                for done in read_all:
                    assert done.wait(10)
        return rows(texts)

    read_all = [threading.Event() for _ in range(4)]

    def watched(step):
        made = read(step)
        read_all[int(step.item.uri[0])].set()
        return made

    found = list(flow(map(step, range(4)), read=watched, embed=embed, readers=4))
    assert calls[0] == ["0", "7"]
    assert sum(calls[1:], []).count("7") < 3
    for number, (_, (inside, own)) in enumerate(found):
        assert inside.tolist() == [[number, 1], [7, 1]] and own.tolist() == [[7, 1]]


def test_what_has_no_text_passes_with_empty_rows():
    found = list(flow([step(0)], read=lambda s: Read(step=s, pieces=(piece("a"),)), embed=rows, readers=1))
    assert [vectors.shape for vectors in found[0][1]] == [(0, 2)]


@pytest.mark.parametrize("size_bytes, most", [(10, 8), (module.BYTES_AHEAD // 2, 4)])
def test_no_more_is_read_ahead_than_fits(monkeypatch, size_bytes, most):
    monkeypatch.setattr(module, "FILES_AHEAD", 8)
    monkeypatch.setattr(module, "TEXTS_TOGETHER", 1)
    begun, taken, largest = 0, 0, 0
    lock = threading.Lock()

    def read(step):
        nonlocal begun, largest
        with lock:
            begun += 1
            largest = max(largest, begun - taken)
        text = "1" if size_bytes == 10 else "1" * (size_bytes // 4)
        made = piece(step.item.uri, "1")
        object.__setattr__(made.document, "text", text)
        return Read(step=step, pieces=(made,))

    for _ in flow((step(n, size_bytes) for n in range(40)), read=read, embed=rows, readers=2):
        taken += 1
    assert begun == taken == 40
    assert largest <= most + module.CALLS_AHEAD


def test_a_failing_embedder_ends_the_ingest_with_its_error():
    def read(step):
        return Read(step=step, pieces=(piece("a", "1"),))

    def embed(texts):
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        list(
            flow(
                map(step, range(50)),
                read=lambda s: Read(step=s, pieces=(piece("a", "1"),)),
                embed=embed,
                readers=2,
            )
        )
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]
