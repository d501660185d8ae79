"""Any LangChain document loader as a connector.

It owns the grouping of a loader's pages by their `source`; it refuses documents that name none, because
a later deletion could not be told from a change. The loader's documents are held in memory from
`discover` to `fetch`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from langchain_core.document_loaders import BaseLoader
from pydantic import Field

from assistant.connectors.base import Connector, Item, Source
from assistant.connectors.config import SourceLabels
from assistant.connectors.labels import labels_of
from assistant.errors import ConfigError, IngestError
from assistant.types import Labels


class LangChainSource(Source, SourceLabels):
    """What any LangChain document loader yields; its package is the operator's to install."""

    kind: Literal["langchain"]
    loader: str = Field(pattern=r"^\w+(\.\w+)*:\w+$", description="module:Class of the loader")
    arguments: dict[str, Any] = Field(default={}, description="what the class is called with")

    def open(self, workspace: Path) -> Connector:
        """Return the connector; the loader runs in the workspace's process, on `discover`.

        Raises:
            ConfigError: there is no such loader, or it refuses the arguments.
        """
        module, _, name = self.loader.partition(":")
        try:
            loader = getattr(import_module(module), name)(**self.arguments)
        except Exception as error:  # noqa: BLE001 - a loader is foreign code
            raise ConfigError(
                f"Connector {self.name}: the loader {self.loader} cannot be made: "
                f"{type(error).__name__}: {error}.",
                remedy="Correct `loader` and `arguments`, or install its package.",
            ) from error
        if not isinstance(loader, BaseLoader):
            raise ConfigError(f"Connector {self.name}: {self.loader} is no LangChain document loader.")
        return LangChainConnector(
            self.name, loader, lambda uri: labels_of(uri, source=self.name, rules=self, folders={})
        )


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
