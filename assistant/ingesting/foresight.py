"""What an ingest would do, without doing it: content is read only where a listing cannot tell.

It refuses to extract anything, so it does not foresee what cannot be read, nor what stands in archives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from assistant.connectors.base import Connector
from assistant.errors import IngestError
from assistant.ingesting.plan import Plan, Step
from assistant.ingesting.summary import Outcome, printable


def foresee(connector: Connector, work: Plan) -> Iterator[tuple[str, Outcome]]:
    """Yield the uri of every file and how it would end, those to be removed last.

    A new file is read where one that is gone had its size; a changed one where its size is the same.
    """
    for step in work.settled:
        yield step.item.uri, "relabelled" if step.relabelled else "unchanged"
    gone = {known.file.size_bytes for known in work.gone.values() if known.file is not None}
    for step in work.steps:
        try:
            yield printable(step.item.uri), _outcome(connector, work, step, gone)
        except (IngestError, FileNotFoundError, UnicodeEncodeError):
            yield printable(step.item.uri), "refused"
    for known in (*work.lost, *work.gone.values()):
        yield known.uri, "removed"


def _outcome(connector: Connector, work: Plan, step: Step, gone: set[int]) -> Outcome:
    step.item.uri.encode()
    old, size = step.old.file, step.item.size_bytes
    if old is None:
        if gone and (size in gone or not size) and work.moved(step, _digest(connector, step)):
            return "renamed"
        return "added"
    if not work.making.made(old) or size not in (0, old.size_bytes):
        return "changed"
    if _digest(connector, step) != old.content_digest:
        return "changed"
    return "relabelled" if step.relabelled else "unchanged"


def _digest(connector: Connector, step: Step) -> str:
    return hashlib.sha256(connector.fetch(step.item)).hexdigest()
