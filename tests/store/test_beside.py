"""Another embedder's vectors: beside the old ones, then all of them in their place."""

import numpy as np
import pytest

from assistant.reembed import reembed
from assistant.store.beside import Beside
from assistant.store.documents import Documents, NewChunk, NewDocument
from assistant.testing.embedder import FakeEmbedder
from assistant.types import Labels


@pytest.fixture
def put(database):
    def put(uri, *texts, embedder="old"):
        text = " ".join(texts)
        new = NewDocument(
            source="docs",
            uri=uri,
            title="T",
            media_type="text/plain",
            content_digest=uri,
            fingerprint="1",
            size_bytes=1,
            labels=Labels(source="docs", principals=frozenset({"everyone"})),
            text=text,
        )
        pieces = [
            NewChunk(ordinal=n, text=t, start=text.index(t), end=text.index(t) + len(t), headings=("H",))
            for n, t in enumerate(texts)
        ]
        return Documents(database).put(new, pieces, np.ones((len(texts), 3), dtype=np.float32), embedder)

    return put


def rows(texts):
    return np.array([[len(text), 0, 0] for text in texts], dtype=np.float32)


def vectors(database, embedder):
    found = Documents(database).changes(0, embedder).upserted
    return {chunk.text: chunk.vector.tolist() for chunk in found}


def test_the_old_vectors_serve_until_all_new_ones_are_there(database, put):
    put("a", "one", "three")
    put("b", "fifteen")
    seen = []

    def embed(texts):
        seen.append((list(texts), vectors(database, "old"), vectors(database, "new")))
        return rows(texts)

    assert reembed(database, embed, "new") == 3
    ((texts, old, new),) = seen
    assert texts == ["T › H\none", "T › H\nthree", "T › H\nfifteen"]
    assert old == {"one": [1, 1, 1], "three": [1, 1, 1], "fifteen": [1, 1, 1]} and new == {}
    assert vectors(database, "old") == {}
    assert vectors(database, "new") == {"one": [9, 0, 0], "three": [11, 0, 0], "fifteen": [13, 0, 0]}
    assert reembed(database, embed, "new") == 0


def test_chunks_keep_their_ids_and_an_index_follows_by_change_number(database, put):
    put("a", "one")
    documents = Documents(database)
    (before,) = documents.changes(0, "old").upserted
    number = documents.change_number()
    reembed(database, rows, "new")
    followed = documents.changes(number, "new")
    assert [chunk.id for chunk in followed.upserted] == [before.id] and not followed.removed


def test_it_goes_on_where_it_was(database, put):
    put("a", "one", "two", "three")
    beside = Beside(database, "new")
    first = list(beside.missing(2))
    beside.add(first, np.ones((2, 3), dtype=np.float32))
    assert beside.left() == 1 and not beside.swap()
    embedded = []
    reembed(database, lambda texts: embedded.extend(texts) or rows(texts), "new")
    assert embedded == ["T › H\nthree"]


def test_what_changes_meanwhile_is_embedded_before_the_swap_and_what_goes_is_forgotten(database, put):
    put("a", "one")
    gone = put("b", "two")
    turns = []

    def embed(texts):
        turns.append(list(texts))
        if len(turns) == 1:
            put("a", "other")
            Documents(database).remove(gone.id)
        return rows(texts)

    reembed(database, embed, "new")
    assert turns == [["T › H\none", "T › H\ntwo"], ["T › H\nother"]]
    assert list(vectors(database, "new")) == ["other"]


def test_a_third_embedder_takes_nothing_of_the_second(database, put):
    put("a", "one")
    put("empty")
    Beside(database, "second").add(list(Beside(database, "second").missing(9)), np.ones((1, 3)))
    reembed(database, rows, "third")
    assert vectors(database, "third") == {"one": [9, 0, 0]}
    assert {stored.embedder for stored in Documents(database).stored("docs").values()} == {"third"}


def test_documents_of_the_new_embedder_stay_as_they_are(database, put):
    put("a", "one", embedder="new")
    number = Documents(database).change_number()
    assert reembed(database, FakeEmbedder().embed, "new") == 0
    assert Documents(database).change_number() == number
