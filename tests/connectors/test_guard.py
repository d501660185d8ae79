"""Listings that lost most of a source."""

from __future__ import annotations

import pytest

from assistant.connectors.base import Item
from assistant.connectors.guard import Guarded
from assistant.errors import IngestError
from assistant.types import Labels

LABELS = Labels(source="docs", principals=frozenset({"everyone"}))


class Listed:
    name = "docs"

    def __init__(self, *uris):
        self.uris = uris

    def discover(self):
        return (Item(uri=uri, fingerprint="1", size_bytes=1, labels=LABELS) for uri in self.uris)

    def fetch(self, item):
        return item.uri.encode()


def names(count, prefix=""):
    return [f"{prefix}{number}.md" for number in range(count)]


def listed(now, stored, under=""):
    return [item.uri for item in Guarded(Listed(*now), lambda: stored, under=under).discover()]


@pytest.mark.parametrize(
    ("now", "stored", "refused"),
    [
        ([], [], False),
        (names(3), [], False),
        ([], names(1), True),
        (names(1), names(2), False),
        (names(9), names(19), False),
        (names(9), names(20), True),
        (names(10), names(20), False),
        (names(20, "renamed/"), names(20), False),
        (names(1), ["0.md", *names(500, "0.zip!/")], False),
    ],
)
def test_when_a_listing_is_refused(now, stored, refused):
    if refused:
        with pytest.raises(IngestError, match="--allow-mass-removal"):
            listed(now, stored)
    else:
        assert listed(now, stored) == list(now)


def test_only_the_part_that_is_listed_counts():
    assert listed(["hr/0.md"], ["hr/0.md", *names(90, "legal/")], under="hr") == ["hr/0.md"]
    with pytest.raises(IngestError, match="0 documents where 90"):
        listed([], ["hr/0.md", *names(90, "legal/")], under="legal/")


def test_one_document_that_somebody_names_may_go():
    assert listed([], ["hr/0.md"], under="hr/0.md") == []


def test_bytes_and_name_are_the_connector_s():
    guarded = Guarded(Listed("a"), list)
    assert (guarded.name, guarded.fetch(next(guarded.discover()))) == ("docs", b"a")
