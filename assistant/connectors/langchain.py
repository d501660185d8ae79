"""Any LangChain document loader as a connector.

It owns the grouping of a loader's pages by their `source`; it refuses documents that name none, because
a later deletion could not be told from a change. The loader's documents are held in memory from
`discover` to `fetch`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from langchain_core.document_loaders import BaseLoader

from assistant.connectors.base import Item
from assistant.errors import IngestError
from assistant.types import Labels


class LangChainConnector:
    """A connector over a `BaseLoader`.

    Args:
        name: the source's name.
        loader: yields documents whose `metadata["source"]` names them; equal ones are parts of one.
        labels: the labels of every document, or a function from its uri.
    """

    def __init__(self, name: str, loader: BaseLoader, labels: Labels | Callable[[str], Labels]) -> None:
        self.name = name
        self._loader = loader
        self._labels = labels
        self._texts: dict[str, bytes] = {}

    def discover(self) -> Iterator[Item]:
        """Yield one item for each `source` of the loader's documents.

        Raises:
            IngestError: the loader failed, or a document names no source.
        """
        parts: dict[str, list[str]] = {}
        titles: dict[str, str] = {}
        try:
            for document in self._loader.lazy_load():
                uri = str(document.metadata.get("source") or "")
                if not uri:
                    raise IngestError(
                        f"A document of {self.name} has no `source` in its metadata.",
                        remedy="Set it in the loader: deletions are found by it.",
                    )
                parts.setdefault(uri, []).append(document.page_content)
                titles.setdefault(uri, str(document.metadata.get("title") or ""))
        except (IngestError, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 - a loader is foreign code
            raise IngestError(f"The loader of {self.name} failed: {error}.") from error
        self._texts = {uri: "\n\n".join(texts).encode() for uri, texts in parts.items()}
        for uri, data in self._texts.items():
            yield Item(
                uri=uri,
                fingerprint=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
                labels=self._labels(uri) if callable(self._labels) else self._labels,
                title=titles[uri] or None,
                read_as="txt",
            )

    def fetch(self, item: Item) -> bytes:
        """Return the text of an item as UTF-8.

        Raises:
            FileNotFoundError: the last `discover` did not list it.
        """
        try:
            return self._texts[item.uri]
        except KeyError:
            raise FileNotFoundError(item.uri) from None
