"""The suite every connector passes: subclass `ConnectorContract`, give it a fixture, and pytest runs it.

    class TestMyConnector(ConnectorContract):
        @pytest.fixture
        def subject(self): ...

It owns what the connector contract means in behaviour; it refuses to test what a text says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from assistant.connectors.base import Connector, Item
from assistant.errors import AssistantError, IngestError

_TEXTS = {"a.txt": b"The canteen opens at noon.", "rooms/b.txt": b"Room 4 is free."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A connector over a source that is empty, and how somebody else changes that source.

    `put` writes or replaces what stands at a path, `remove` takes it away; neither goes through the
    connector. `uri` turns such a path into the item's uri. `broken` makes the source fail from the
    second path on while it is held; None where that cannot be done.
    """

    connector: Connector
    put: Callable[[str, bytes], None]
    remove: Callable[[str], None]
    uri: Callable[[str], str] = str
    broken: Callable[[], AbstractContextManager[object]] | None = None


class ConnectorContract:
    """Tests of a connector. A subclass gives the fixture `subject`."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Return the connector under test, over an empty source."""
        raise NotImplementedError

    def test_the_name_can_stand_in_labels_and_locks(self, subject: Subject) -> None:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", subject.connector.name)

    def test_everything_there_is_listed_once(self, subject: Subject) -> None:
        items = _filled(subject)
        assert sorted(items) == sorted(subject.uri(path) for path in _TEXTS)
        assert len(list(subject.connector.discover())) == len(_TEXTS)

    def test_items_carry_what_an_ingest_needs(self, subject: Subject) -> None:
        for path, text in _TEXTS.items():
            item = _filled(subject)[subject.uri(path)]
            assert item.fingerprint
            assert item.size_bytes in (0, len(text))
            assert item.labels.source == subject.connector.name
            assert item.labels.principals, "the suite's source is readable by somebody"

    def test_bytes_are_the_source_s(self, subject: Subject) -> None:
        items = _filled(subject)
        for path, text in _TEXTS.items():
            assert subject.connector.fetch(items[subject.uri(path)]) == text

    def test_an_item_can_be_fetched_by_several_threads_at_once(self, subject: Subject) -> None:
        items = _filled(subject)
        wanted = [path for path in _TEXTS for _ in range(8)]
        with ThreadPoolExecutor(4) as threads:
            fetched = threads.map(lambda path: subject.connector.fetch(items[subject.uri(path)]), wanted)
            assert list(fetched) == [_TEXTS[path] for path in wanted]

    def test_what_did_not_change_keeps_fingerprint_and_labels(self, subject: Subject) -> None:
        assert _filled(subject) == _listed(subject)

    def test_a_change_of_equal_length_changes_the_fingerprint(self, subject: Subject) -> None:
        before = _filled(subject)
        subject.put("a.txt", _TEXTS["a.txt"].replace(b"noon", b"nine"))
        after = _listed(subject)
        changed, same = subject.uri("a.txt"), subject.uri("rooms/b.txt")
        assert before[changed].fingerprint != after[changed].fingerprint
        assert before[same] == after[same]
        assert subject.connector.fetch(after[changed]) == b"The canteen opens at nine."

    def test_what_somebody_adds_or_removes_is_seen_by_the_next_listing(self, subject: Subject) -> None:
        _filled(subject)
        subject.put("rooms/c.txt", b"Room 5 is not.")
        subject.remove("a.txt")
        assert sorted(_listed(subject)) == sorted(map(subject.uri, ("rooms/b.txt", "rooms/c.txt")))

    def test_a_listing_may_be_abandoned(self, subject: Subject) -> None:
        items = _filled(subject)
        next(iter(subject.connector.discover()))
        assert _listed(subject) == items

    def test_what_vanished_since_the_listing_is_a_missing_file(self, subject: Subject) -> None:
        gone = _filled(subject)[subject.uri("a.txt")]
        subject.remove("a.txt")
        try:
            subject.connector.fetch(gone)
        except FileNotFoundError:
            return
        except AssistantError as error:
            pytest.fail(f"it must raise FileNotFoundError, not {error!r}")
        # a connector that holds what it listed may still hand it over; the next listing lacks it
        assert subject.uri("a.txt") not in _listed(subject)

    def test_a_source_that_fails_half_way_is_no_shorter_listing(self, subject: Subject) -> None:
        if subject.broken is None:
            pytest.skip("this source cannot be made to fail")
        _filled(subject)
        with subject.broken(), pytest.raises(IngestError):
            list(subject.connector.discover())
        assert len(_listed(subject)) == len(_TEXTS), "it recovers"


def _filled(subject: Subject) -> dict[str, Item]:
    for path, text in _TEXTS.items():
        subject.put(path, text)
    return _listed(subject)


def _listed(subject: Subject) -> dict[str, Item]:
    return {item.uri: item for item in subject.connector.discover()}
