"""What an ingest has to do: what a source holds now beside what is stored of it.

It owns what counts as changed, moved and gone, told from listings alone wherever they can tell; it reads
no document and stores none.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from assistant.connectors.base import Item
from assistant.extraction.kinds import extension
from assistant.store.records import Stored

MEMBER = "!/"
"""Stands between the uri of a file and the path of what stood inside it, in the uri of that document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What besides its content decides how a document is stored: the embedder, and how text is got and cut.

    `readers` names extractor plug-ins by extension: files of another extension are not read again for them.
    """

    embedder: str
    recipe: str
    readers: Mapping[str, str] = field(default_factory=dict)

    def recipe_of(self, uri: str) -> str:
        """Return the recipe for what is at a uri, inside an archive or not."""
        reader = self.readers.get(extension(uri))
        return f"{self.recipe}/{reader}" if reader else self.recipe

    def made(self, stored: Stored) -> bool:
        """Whether a stored document was made so."""
        return (stored.embedder, stored.recipe) == (self.embedder, self.recipe_of(stored.uri))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored of a file: its own document, if that got so far, and those that stood inside it."""

    file: Stored | None = None
    members: tuple[Stored, ...] = ()

    @property
    def all(self) -> tuple[Stored, ...]:
        """All documents, the file's own last."""
        return self.members if self.file is None else (*self.members, self.file)

    @property
    def uri(self) -> str:
        """The uri of the document that is named for all of them."""
        return self.all[-1].uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An item of the source, and what is stored of it."""

    item: Item
    old: Known = Known()

    @property
    def relabelled(self) -> bool:
        """Whether the labels of what is stored are not those of the item."""
        return any(stored.labels_digest != self.item.labels.digest for stored in self.old.all)


@dataclass(slots=True, kw_only=True)
class Plan:
    """The work of one ingest: `settled` items need no reading, `steps` do, `gone` files are to be removed.

    `gone` holds what may turn out to have moved while `steps` are read; `lost` what cannot have.
    """

    making: Making
    settled: list[Step] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    lost: list[Known] = field(default_factory=list)
    gone: dict[str, Known] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total(self) -> int:
        """Number of files that have to be gone through; one that moved counts twice until that is seen."""
        return len(self.settled) + len(self.steps) + len(self.lost) + len(self.gone)

    def moved(self, step: Step, digest: str) -> Known | None:
        """Take from `gone` the file whose content a new item has, if there is one. Safe in threads."""
        if step.old.file is not None:
            return None
        with self._lock:
            return self.gone.pop(digest, None)


def plan(
    items: Iterable[Item],
    stored: Mapping[str, Stored],
    making: Making,
    *,
    under: str = "",
    remove: bool = True,
) -> Plan:
    """Compare what a source holds with what is stored of it.

    Args:
        under: the part of the source that was listed; nothing elsewhere is gone.
        remove: whether anything is gone at all.
    """
    listed = {item.uri: item for item in items}
    files = _files(stored, listed)
    result = Plan(making=making)
    for uri, item in listed.items():
        step = Step(item=item, old=files.pop(uri, Known()))
        old = step.old.file
        same = old is not None and making.made(old) and old.fingerprint == item.fingerprint
        (result.settled if same else result.steps).append(step)
    sizes = {step.item.size_bytes for step in result.steps if step.old.file is None}
    for uri, known in files.items():
        if remove and _is_under(uri, under):
            _part(result, known, sizes)
    return result


def _part(result: Plan, known: Known, sizes: set[int]) -> None:
    """Say of a file that is gone whether it may stand elsewhere now: a new item may have its size."""
    file = known.file
    may = file is not None and result.making.made(file) and sizes & {0, file.size_bytes}
    if file is None or not may or file.content_digest in result.gone:
        result.lost.append(known)
    else:
        result.gone[file.content_digest] = known


def _files(stored: Mapping[str, Stored], listed: Mapping[str, Item]) -> dict[str, Known]:
    """Put what stood inside files with them; what has no file any more stands for itself."""
    members: defaultdict[str, list[Stored]] = defaultdict(list)
    files: dict[str, Stored | None] = {}
    for uri, document in stored.items():
        file = uri.partition(MEMBER)[0]
        if file != uri and uri not in listed and (file in stored or file in listed):
            members[file].append(document)
            files.setdefault(file, None)
        else:
            files[uri] = document
    return {uri: Known(file=file, members=tuple(members[uri])) for uri, file in files.items()}


def _is_under(uri: str, folder: str) -> bool:
    folder = folder.strip("/")
    return not folder or uri == folder or uri.startswith(f"{folder}/")
