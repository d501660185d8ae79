"""A listing that lost most of a source is a mistake until somebody says otherwise.

An unmounted share, a wrong prefix or a narrowed credential lists nothing, or little, and fails in no
other way. It owns that suspicion; deleting stays the ingest's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from assistant.connectors.base import Connector, Item
from assistant.errors import IngestError

_SHARE = 0.5
_FEW = 20


class Guarded:
    """A connector whose `discover` is refused when it would remove most of what is stored.

    Refused is an empty listing, and one of fewer than half as many documents as are stored, if those are
    twenty or more. Renaming removes nothing: only numbers are compared.

    Args:
        stored: the uris of the source that the database holds, asked after the listing.
        under: the part of the source that is listed; where that is one document, nothing is refused.
    """

    def __init__(
        self, connector: Connector, stored: Callable[[], Collection[str]], *, under: str = ""
    ) -> None:
        self._connector = connector
        self._stored = stored
        self._under = under.strip("/")

    @property
    def name(self) -> str:
        """The source's name."""
        return self._connector.name

    def discover(self) -> Iterator[Item]:
        """Yield what the connector yields.

        Raises:
            IngestError: too little is left, or what the connector raises.
            ConfigError: what the connector raises.
        """
        items = list(self._connector.discover())
        stored = self._stored()
        if self._under not in stored:
            here = [uri for uri in stored if self._counts(uri)]
            few = len(here) >= _FEW and len(items) < len(here) * _SHARE
            if here and (few or not items):
                raise IngestError(
                    f"{self.name} lists {len(items):,} documents where {len(here):,} are stored. "
                    "Nothing was changed.",
                    remedy="Check the source; if they were really deleted, give --allow-mass-removal.",
                )
        yield from items

    def fetch(self, item: Item) -> bytes:
        """Return what the connector returns.

        Raises:
            FileNotFoundError, IngestError: what the connector raises.
        """
        return self._connector.fetch(item)

    def _counts(self, uri: str) -> bool:
        """Whether a stored document is one that the source lists: what stood inside another is not."""
        return "!/" not in uri and (not self._under or uri.startswith(f"{self._under}/"))
