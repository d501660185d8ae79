"""Documents that are alike find each other, among what may be read, whatever comes and goes."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant import minhash
from assistant.store.database import Database
from assistant.store.documents import Documents, NewDocument
from assistant.store.likenesses import _LAST_COMPARED, NEAR
from assistant.store.schema import bands, likenesses
from assistant.types import Labels

STAFF, MANAGERS = (Labels(source="s", principals=frozenset({who})) for who in ("everyone", "group:managers"))
NO_VECTORS = np.zeros((0, 4), dtype=np.float32)


def text(seed, words=200):
    return " ".join(f"word{random.Random(f'{seed}/{place}').randrange(5000)}" for place in range(words))


def changed(original, words):
    return " ".join([*original.split()[:-words], *(f"new{number}" for number in range(words))])


@pytest.fixture
def documents(database):
    return Documents(database)


def put(documents, uri, text, labels=STAFF, **more):
    new = NewDocument(
        **{
            "source": "s",
            "uri": uri,
            "title": "Policy",
            "media_type": "m",
            "content_digest": "",
            "fingerprint": "",
            "size_bytes": 0,
            "labels": labels,
            "text": text,
            **more,
        }
    )
    return documents.put(new, [], NO_VECTORS, "e")


def stop():
    raise KeyboardInterrupt


def near(documents, document, permitted=None):
    permitted = documents.class_ids() if permitted is None else permitted
    return {alike.document.uri for alike in documents.likenesses(permitted).near(document.id)}


def newer(documents, document, permitted=None, **more):
    permitted = documents.class_ids() if permitted is None else permitted
    found = documents.likenesses(permitted).newer([document], **more)
    return found[document.id].uri if document.id in found else None


def test_near_duplicates_name_each_other_the_most_alike_first(documents):
    one = put(documents, "a.md", text(1))
    put(documents, "b.md", changed(text(1), 12))
    put(documents, "c.md", changed(text(1), 2))
    put(documents, "d.md", text(2))
    found = documents.likenesses(documents.class_ids()).near(one.id)
    assert [each.document.uri for each in found] == ["c.md", "b.md"]
    assert 1 > found[0].likeness > found[1].likeness >= NEAR


def test_a_copy_that_may_not_be_read_is_not_there(documents):
    open_, closed = put(documents, "a.md", text(1)), put(documents, "b.md", text(1), MANAGERS)
    staff = frozenset({open_.access_class.id})
    assert near(documents, open_) == {"b.md"} and near(documents, closed) == {"a.md"}
    assert near(documents, open_, staff) == set() == near(documents, closed, staff)
    assert near(documents, open_, frozenset()) == set()
    documents.relabel(closed.id, STAFF)
    assert near(documents, open_, staff) == {"b.md"}


def test_what_is_changed_or_removed_is_forgotten(documents):
    one, other = put(documents, "a.md", text(1)), put(documents, "b.md", text(1))
    put(documents, "b.md", text(2))
    assert near(documents, one) == set()
    put(documents, "b.md", text(1))
    assert near(documents, one) == {"b.md"}
    documents.remove(other.id)
    assert near(documents, one) == set()
    documents.remove(one.id)
    with documents._database.read() as connection:
        assert not connection.execute(bands.select()).all() + connection.execute(likenesses.select()).all()


def test_documents_of_an_older_schema_are_looked_at_once(documents):
    one = put(documents, "policy-2023.md", text(1))
    put(documents, "policy-2024.md", text(1))
    put(documents, "empty.md", "")
    with documents._database.write() as connection:
        connection.execute(bands.delete())
        connection.execute(likenesses.delete())
    assert (near(documents, one), newer(documents, one)) == (set(), None)
    with pytest.raises(KeyboardInterrupt):
        documents.look_at_all(stop)
    assert [documents.look_at_all(), documents.look_at_all()] == [3, 0]
    assert documents.look_at_all(stop) == 0
    assert (near(documents, one), newer(documents, one)) == ({"policy-2024.md"}, "policy-2024.md")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "relabel", "rename"]),
        st.integers(0, 4),
        st.integers(0, 3),
        st.sampled_from([STAFF, MANAGERS]),
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=40)
@given(steps=STEPS)
def test_it_is_always_what_comparing_all_would_find(tmp_path_factory, steps):
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('likenesses')}/assistant.db")
    database.migrate()
    documents = Documents(database)
    texts = [text(1), changed(text(1), 4), changed(text(1), 40), text(2)]
    there = {}
    for step, place, which, labels in steps:
        uri = f"{place}.md"
        if step == "put":
            there[uri] = put(documents, uri, texts[which], labels)
        elif uri in there and step == "remove":
            documents.remove(there.pop(uri).id)
        elif uri in there and step == "relabel":
            documents.relabel(there[uri].id, labels)
        elif uri in there and f"{which}.md" not in there:
            moved = documents.rename(
                there.pop(uri).id, f"{which}.md", fingerprint="", labels=labels, title="T"
            )
            there[moved.uri] = moved
    for permitted in (documents.class_ids(), *({number} for number in documents.class_ids())):
        readable = {
            document.uri: minhash.sketch(documents.text(document.id))
            for document in documents.list()
            if document.access_class.id in permitted
        }
        for uri, own in readable.items():
            expected = {other for other in readable if minhash.alike(own, readable[other]) >= NEAR} - {uri}
            assert near(documents, there[uri], frozenset(permitted)) == expected
    database.close()


def test_a_later_edition_is_read_instead_where_it_may_be(documents):
    old = put(documents, "hr/policy-2022.md", text(1))
    put(documents, "hr/policy-2023.md", changed(text(1), 20))
    new = put(documents, "hr/policy-2024.md", changed(text(1), 40), MANAGERS)
    assert newer(documents, old) == "hr/policy-2024.md"
    assert newer(documents, old, frozenset({old.access_class.id})) == "hr/policy-2023.md"
    assert newer(documents, new) is None
    assert newer(Documents(documents._database, editions=False), old) is None
    assert newer(documents, old, question="What held in 2022?") is None
    documents.remove(new.id)
    assert newer(documents, old) == "hr/policy-2023.md"


@pytest.mark.parametrize(
    ("uri", "title", "words"),
    [
        ("hr/policy-2024.md", "Policy", None),  # another text: minutes, reports, invoices
        ("it/policy-2024.md", "Policy", 5),
        ("hr/policy-2024.md", "Policy of Norway", 5),
        ("hr/policies-2024.md", "Policy", 5),
        ("hr/policy-2023-05.md", "Policy", 5),
    ],
)
def test_what_is_not_surely_a_later_edition_of_the_same_replaces_nothing(documents, uri, title, words):
    old = put(documents, "hr/policy-2023.md", text(1))
    put(documents, uri, changed(text(1), words) if words else text(2), title=title)
    assert newer(documents, old) is None


def test_of_many_names_that_look_like_one_series_only_the_last_are_compared(documents, monkeypatch):
    old = [put(documents, f"minutes-2023-{month:02}.md", text(month)) for month in range(1, 4)]
    for day in range(1, 29):
        put(documents, f"minutes-2024-02-{day:02}.md", text(100 + day))
    alike, compared = minhash.alike, []
    monkeypatch.setattr(minhash, "alike", lambda *both: compared.append(both) or alike(*both))
    assert documents.likenesses(documents.class_ids()).newer(old) == {}
    assert 0 < len(compared) <= len(old) * _LAST_COMPARED


def test_later_ones_that_may_not_be_read_hide_none_that_may(documents):
    old = put(documents, "minutes-2023.md", text(1))
    put(documents, "minutes-2024.md", text(1))
    for day in range(1, 29):
        put(documents, f"minutes-2025-02-{day:02}.md", text(1), MANAGERS)
    assert newer(documents, old) == "minutes-2025-02-28.md"
    assert newer(documents, old, frozenset({old.access_class.id})) == "minutes-2024.md"


def test_many_series_cost_no_more_statements_than_one(documents, monkeypatch):
    old = [put(documents, f"plan{number}-2023.md", text(number)) for number in range(6)]
    for number in range(6):
        put(documents, f"plan{number}-2024.md", text(number))
    permitted, sent = documents.class_ids(), []
    for name in ("read", "rows"):
        method = getattr(Database, name)
        monkeypatch.setattr(Database, name, lambda *of, method=method: sent.append(of) or method(*of))
    one = documents.likenesses(permitted).newer(old[:1])
    single = len(sent)
    found = documents.likenesses(permitted).newer(old)
    assert {id: document.uri for id, document in found.items()} == {
        each.id: f"plan{number}-2024.md" for number, each in enumerate(old)
    }
    assert one == {old[0].id: found[old[0].id]}
    assert len(sent) == 2 * single


def test_another_source_holds_no_edition_of_this_one(documents):
    old = put(documents, "policy-2023.md", text(1))
    put(
        documents,
        "policy-2024.md",
        text(1),
        Labels(source="t", principals=frozenset({"everyone"})),
        source="t",
    )
    assert newer(documents, old) is None


def test_what_a_document_says_of_itself_goes_before_its_name(documents):
    later = put(documents, "policy-2024.md", text(1))
    earlier = put(documents, "policy-2023.md", text(1), supersedes="policy-2024.md")
    (later,) = (document for document in documents.list() if document.id == later.id)
    assert newer(documents, later) == "policy-2023.md"
    assert newer(documents, earlier) is None


def test_of_those_that_supersede_a_document_one_that_may_be_read_counts(documents):
    put(documents, "old.md", text(1))
    put(documents, "hidden.md", text(2), MANAGERS, supersedes="old.md", dated="2026-01-01")
    seen = put(documents, "seen.md", text(3), supersedes="old.md", dated="2025-01-01")
    old = documents.find("s", "old.md")
    assert newer(documents, old) == "hidden.md"
    assert newer(documents, old, frozenset({seen.access_class.id})) == "seen.md"


def test_superseding_and_editions_follow_a_rename(documents):
    old = put(documents, "hr/leave.md", text(1))
    put(documents, "hr/new.md", text(2), supersedes="hr/leave.md")
    documents.rename(old.id, "archive/leave.md", fingerprint="", labels=STAFF, title="Policy")
    assert newer(documents, documents.get(old.id)) == "hr/new.md"
    put(documents, "hr/leave.md", text(3))
    assert newer(documents, documents.find("s", "hr/leave.md")) is None
    documents.rename(old.id, "hr/plan-2023.md", fingerprint="", labels=STAFF, title="Policy")
    documents.remove(documents.find("s", "hr/new.md").id)
    assert newer(documents, documents.get(old.id)) is None
    put(documents, "hr/plan-2024.md", text(1))
    assert newer(documents, documents.get(old.id)) == "hr/plan-2024.md"
