"""A listing that ends when the ingest is told to end: a large source lists for minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from assistant.connectors.base import Connector, Item

Each = TypeVar("Each")


def going_on(items: Iterable[Each], proceed: Callable[[], None]) -> Iterator[Each]:
    """Yield the items for as long as `proceed` does not raise."""
    for item in items:
        proceed()
        yield item


class Listing:
    """A connector that lists for as long as `proceed` does not raise, for whoever takes the whole listing."""

    def __init__(self, connector: Connector, proceed: Callable[[], None]) -> None:
        self._connector, self._proceed = connector, proceed

    @property
    def name(self) -> str:
        """The source's name."""
        return self._connector.name

    def discover(self) -> Iterator[Item]:
        """Yield what the connector yields."""
        return going_on(self._connector.discover(), self._proceed)

    def fetch(self, item: Item) -> bytes:
        """Return what the connector returns."""
        return self._connector.fetch(item)
