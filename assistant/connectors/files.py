"""Files of a folder, or of anything fsspec can list, as documents.

It owns which files are documents and which labels they get: names that begin with a dot are ignored
(but for `.access.yaml`), and so are the lock files of office programs. Where files are is `local`'s or
`remote`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from assistant.connectors.base import Item
from assistant.connectors.config import (
    FOLDER_FILE,
    FilesSource,
    FolderLabels,
    read_folder_labels,
    read_frontmatter,
)
from assistant.connectors.labels import labels_of, matches, nobodys
from assistant.connectors.local import LocalTree
from assistant.connectors.remote import RemoteTree
from assistant.connectors.tree import Entry, Tree
from assistant.errors import ConfigError, IngestError

_FOLDER_FILE_BYTES = 1_000_000
_FRONTMATTER_BYTES = 16_384
_MARKDOWN = (".md", ".markdown", ".mdx")


class Files:
    """The connector of kind `files`.

    Args:
        source: the connector's configuration.
        workspace: the folder that a relative `url` counts from.
        under: only this file or folder of the source.
    """

    def __init__(self, source: FilesSource, *, workspace: Path, under: str = "") -> None:
        self._source = source
        self._under = under.strip("/")
        self._refused: dict[str, str] = {}
        self._tree: Tree
        if source.is_remote:
            self._tree = RemoteTree(source.url, source.options, retries=source.retries)
        else:
            self._tree = LocalTree(workspace / source.url.removeprefix("file://"))

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    def discover(self) -> Iterator[Item]:
        """Yield the files of the source in order of their paths.

        Raises:
            IngestError: the root is missing, or the listing is not complete.
            ConfigError: a `.access.yaml` is wrong.
        """
        entries = sorted(self._tree.entries(), key=lambda entry: entry.uri)
        folders = {
            entry.uri.rpartition("/")[0]: self._folder_labels(entry)
            for entry in entries
            if entry.uri.rpartition("/")[2] == FOLDER_FILE
        }
        documents = [entry for entry in entries if self._is_document(entry.uri)]
        own = self._own_labels(documents) if self._source.frontmatter else {}
        for entry in documents:
            labels = nobodys(self.name)
            if entry.uri not in self._refused:
                labels = labels_of(
                    entry.uri, source=self.name, rules=self._source, folders=folders, own=own.get(entry.uri)
                )
            yield Item(
                uri=entry.uri, fingerprint=entry.fingerprint, size_bytes=entry.size_bytes, labels=labels
            )

    def fetch(self, item: Item) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: it vanished.
            IngestError: it is a link out of the root, no plain file, too large, cannot be read, or its
                frontmatter names wrong labels.
        """
        if reason := self._refused.get(item.uri):
            raise IngestError(reason)
        limit = self._source.max_file_mb * 1_000_000
        return self._tree.read(item.uri, size_bytes=item.size_bytes, limit_bytes=limit)

    def _is_document(self, uri: str) -> bool:
        name = uri.rpartition("/")[2]
        if name.startswith((".", "~$")):
            return False
        if self._under and uri != self._under and not uri.startswith(f"{self._under}/"):
            return False
        included = not self._source.include or any(matches(pattern, uri) for pattern in self._source.include)
        return included and not any(matches(pattern, uri) for pattern in self._source.exclude)

    def _folder_labels(self, entry: Entry) -> FolderLabels:
        """Read a folder's labels.

        Raises:
            IngestError: they cannot be read, so that the listing is not complete.
        """
        try:
            data = self._tree.read(entry.uri, size_bytes=entry.size_bytes, limit_bytes=_FOLDER_FILE_BYTES)
        except FileNotFoundError as error:
            raise IngestError(
                f"{entry.uri} vanished while the source was listed.", remedy="Run it again."
            ) from error
        return read_folder_labels(data.decode("utf-8", errors="replace"), Path(entry.uri))

    def _own_labels(self, documents: Sequence[Entry]) -> dict[str, FolderLabels]:
        """Read what markdown files say of themselves; one that cannot be read is for nobody."""
        marked = {entry.uri: entry for entry in documents if entry.uri.lower().endswith(_MARKDOWN)}
        beginnings = self._tree.beginnings(list(marked.values()), _FRONTMATTER_BYTES)
        self._refused, own = {}, {}
        for uri, entry in marked.items():
            try:
                if uri not in beginnings:
                    raise ConfigError(f"{uri}: its frontmatter cannot be read.")
                data = beginnings[uri]
                if b"\0" in data:  # UTF-16, perhaps: its labels would not be seen
                    raise ConfigError(f"{uri}: it is not UTF-8.", remedy="Save it as UTF-8.")
                text = data.decode("utf-8", errors="replace")
                own[uri] = read_frontmatter(text, whole=entry.size_bytes <= len(data), file=Path(uri))
            except ConfigError as error:
                self._refused[uri] = str(error)
        return own
