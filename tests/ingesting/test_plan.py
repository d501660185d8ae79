"""What an ingest has to do, told from a listing and what is stored."""

from assistant.connectors.base import Item
from assistant.ingesting.plan import Making, plan
from assistant.store.records import Stored
from assistant.types import Labels

LABELS = Labels(source="docs", principals=frozenset({"everyone"}))
MAKING = Making(embedder="e", recipe="1/160")


def item(uri, fingerprint="1", size_bytes=5):
    return Item(uri=uri, fingerprint=fingerprint, size_bytes=size_bytes, labels=LABELS)


def stored(*uris, **more):
    values = {
        "fingerprint": "1",
        "labels_digest": LABELS.digest,
        "embedder": "e",
        "recipe": "1/160",
        "size_bytes": 5,
        **more,
    }
    return {uri: Stored(**{"id": uri, "uri": uri, "content_digest": uri, **values}) for uri in uris}


def uris(steps):
    return [step.item.uri for step in steps]


def test_what_a_listing_tells_is_settled():
    before = stored("a", "b", "c") | stored("d", embedder="other") | stored("e", recipe="0/160")
    work = plan([item(uri) for uri in "ab"] + [item("c", "2"), item("d"), item("e")], before, MAKING)
    assert uris(work.settled) == ["a", "b"] and uris(work.steps) == ["c", "d", "e"]
    assert (work.gone, work.lost, work.total) == ({}, [], 5)


def test_a_file_that_is_gone_may_have_moved_only_where_a_new_one_has_its_size():
    before = stored("a") | stored("b", size_bytes=6) | stored("c", embedder="other")
    work = plan([item("new")], before, MAKING)
    assert [known.uri for known in work.lost] == ["b", "c"] and list(work.gone) == ["a"]
    (new,) = work.steps
    assert work.moved(new, "b") is None
    assert work.moved(new, "a").uri == "a" and work.moved(new, "a") is None


def test_what_stood_in_a_file_goes_with_it():
    before = stored("a.zip", "a.zip!/x", "a.zip!/y/z", "b.zip!/x", "odd!/name", "c.zip!/x")
    work = plan([item("a.zip"), item("odd!/name"), item("c.zip")], before, MAKING)
    zipped, odd = work.settled
    assert [old.uri for old in zipped.old.all] == ["a.zip!/x", "a.zip!/y/z", "a.zip"]
    assert [old.uri for old in odd.old.all] == ["odd!/name"]
    (half,) = work.steps  # the ingest ended before the file's own document was stored
    assert half.old.file is None and [old.uri for old in half.old.all] == ["c.zip!/x"]
    assert [known.uri for known in work.gone.values()] == ["b.zip!/x"]


def test_only_what_was_listed_is_gone():
    before = stored("hr/a", "it/a", "hr2/a")
    assert [known.uri for known in plan([], before, MAKING, under="hr").lost] == ["hr/a"]
    assert plan([], before, MAKING, remove=False).lost == []
