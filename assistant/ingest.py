"""The pipeline of one ingest, on one screen: discover, fetch, extract, chunk, embed, store.

What holds whatever happens: a document is stored in one transaction or not at all; one that cannot be
read is reported and the rest goes on; tighter access holds before anything is read; nothing is kept that
its source no longer holds. The steps are in `assistant.ingesting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from assistant.config import Settings
from assistant.connectors.base import Connector
from assistant.extraction.readers import by_extension
from assistant.ingesting import lock
from assistant.ingesting.flow import Embed, flow
from assistant.ingesting.foresight import foresee
from assistant.ingesting.plan import Making, plan
from assistant.ingesting.reading import Extracts, Reader
from assistant.ingesting.storing import Writer
from assistant.ingesting.summary import Outcome, Progress, Summary, Tally
from assistant.store.documents import Documents

__all__ = ["Outcome", "Progress", "Summary", "preview", "run"]

RECIPE = 3  # raise it when extraction or chunking changes, so that stored documents are read again


def run(
    connector: Connector,
    *,
    documents: Documents,
    extractor: Extracts,
    embed: Embed,
    count: Callable[[str], int],
    longest: int,
    embedder: str,
    settings: Settings,
    progress: Callable[[Progress], None] = lambda _: None,
    proceed: Callable[[], None] = lambda: None,
    abandon: Callable[[], None] = lambda: None,
    remove_missing: bool = True,
    under: str = "",
    readers: int = 1,
) -> Summary:
    """Bring the store to what a source holds now.

    Args:
        embed: texts to unit rows, shape (texts, dimensions); called from several threads.
        count: tokens of a text, of the embedder's.
        longest: how many of them the embedder takes.
        embedder: digest of the embedder; documents of another are embedded anew.
        proceed: called with every file that is listed, after every file that is done and while one is
            waited for; what it raises ends the ingest.
        abandon: called once nothing more is to be read; what it cuts short is read the next time.
        remove_missing: delete stored documents that the source no longer holds.
        under: the part of the source that the connector listed; only there is anything removed.
        readers: threads that fetch, extract and chunk; as many as the extractor has processes.

    Raises:
        SourceBusy: another ingest of this source is running.
        IngestError, ConfigError: the source cannot be listed; nothing was changed.
        StoreError: the database cannot be written; what was reported before stays.
    """
    with lock.held(connector.name, settings.workspace / "var" / "locks"):
        making = _making(embedder, settings)
        stored = documents.stored(connector.name)
        work = plan(connector.discover(), stored, making, under=under, remove=remove_missing)
        tally = Tally(total=work.total, left_bytes=sum(step.item.size_bytes for step in work.steps))
        writer = Writer(documents=documents, making=making, tally=tally)
        reader = Reader(
            connector=connector,
            extractor=extractor,
            plan=work,
            chunk_tokens=settings.retrieval.chunk_tokens,
            count=count,
            longest=longest,
        )

        def done(step: Progress) -> None:
            progress(step)
            proceed()

        for known in work.lost:
            done(tally.step(known.uri, writer.remove(known)))
        for step in [*work.settled, *work.steps]:
            writer.relabel(step)
        for step in work.settled:
            done(tally.step(step.item.uri, writer.settle(step)))
        for read, vectors in flow(
            work.steps, read=reader.read, embed=embed, readers=readers, proceed=proceed, abandon=abandon
        ):
            item = read.step.item
            done(tally.step(item.uri, writer.write(read, vectors), item.size_bytes))
        for known in work.gone.values():
            done(tally.step(known.uri, writer.remove(known)))
        return tally.summary()


def preview(
    connector: Connector,
    *,
    documents: Documents,
    embedder: str,
    settings: Settings,
    remove_missing: bool = True,
    under: str = "",
) -> Iterator[tuple[str, Outcome]]:
    """Yield the uri of every file and how `run` would end with it; nothing is changed.

    Raises:
        IngestError, ConfigError: the source cannot be listed.
    """
    stored = documents.stored(connector.name)
    making = _making(embedder, settings)
    work = plan(connector.discover(), stored, making, under=under, remove=remove_missing)
    return foresee(connector, work)


def _making(embedder: str, settings: Settings) -> Making:
    readers = by_extension(settings.extraction.readers)
    return Making(embedder=embedder, recipe=f"{RECIPE}/{settings.retrieval.chunk_tokens}", readers=readers)
