"""Puts the parts together: the only place that chooses implementations.

Each part is built when it is first used, so that a command pays only for what it needs: verifying the
log loads no model. It owns wiring; it holds no step of any pipeline.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING

from assistant.config import HttpEngine, Settings, load
from assistant.config import LocalEngine as LocalSettings

if TYPE_CHECKING:
    from assistant.adapters.registry import Registry
    from assistant.audit.log import AuditLog
    from assistant.audit.verify import Verification
    from assistant.chat import Chat
    from assistant.connectors.base import Connector
    from assistant.engine.base import Engine
    from assistant.ingest import Outcome, Progress, Summary
    from assistant.policies.access import Access
    from assistant.policies.people import People
    from assistant.policies.permissions import Permissions
    from assistant.policies.rules import RuleBook
    from assistant.removal import Remover
    from assistant.retrieval.embed import Embedder
    from assistant.retrieval.rerank import Reranker
    from assistant.retrieval.search import Search, TextEmbedder
    from assistant.routing.live import Live
    from assistant.routing.router import Router
    from assistant.serving import Parts, Serving
    from assistant.store.database import Database
    from assistant.store.documents import Documents
    from assistant.store.keys import Keys
    from assistant.watched import Watched

_READERS = 4  # files taken apart at once


def build(settings: Settings) -> App:
    """Return the application over a workspace; nothing heavy is loaded yet."""
    return App(settings)


class App:
    """The parts of one workspace."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._reembedding = threading.Lock()

    @cached_property
    def database(self) -> Database:
        """The database, migrated to this version's schema."""
        from assistant.store.database import Database

        database = Database.open(self.settings.database_url)
        database.migrate()
        return database

    @cached_property
    def documents(self) -> Documents:
        """Documents and chunks: the truth."""
        from assistant.store.documents import Documents

        return Documents(self.database, editions=self.settings.retrieval.newer_editions)

    @cached_property
    def keys(self) -> Keys:
        """API keys."""
        from assistant.store.keys import Keys

        return Keys(self.database)

    @cached_property
    def log(self) -> AuditLog:
        """The audit log, opened for appending."""
        from assistant.audit.log import AuditLog

        return AuditLog(self.database, self.settings.path(self.settings.audit.folder))

    @property
    def people(self) -> People:
        """The directory of people, as people.yaml says at this moment."""
        return self._people.current()

    @property
    def access(self) -> Access:
        """Cedar's policies, as access.cedar says at this moment."""
        return self._access.current()

    @cached_property
    def _people(self) -> Watched[People]:
        from assistant.policies.people import People
        from assistant.watched import Watched

        file = self.settings.path(self.settings.people)
        return Watched(file, People.parse, "Create it or correct the path; until then nobody is known.")

    @cached_property
    def _access(self) -> Watched[Access]:
        from assistant.policies.access import Access
        from assistant.watched import Watched

        file = self.settings.path(self.settings.policies) / "access.cedar"
        return Watched(file, Access.parse, "Restore it; without it nobody may read anything.")

    @cached_property
    def permissions(self) -> Permissions:
        """Which access classes a person may read: the only way from a user to a set of chunks."""
        from assistant.policies.permissions import Permissions

        return Permissions(lambda: self.access, self.documents)

    @cached_property
    def rules(self) -> RuleBook:
        """The content rules, their cases run."""
        from assistant.policies.rules import RuleBook

        return RuleBook.load(self.settings.path(self.settings.policies) / "rules")

    @cached_property
    def adapters(self) -> Registry:
        """Departments and their adapter versions."""
        from assistant.adapters.registry import Registry

        return Registry(self.settings.path(self.settings.adapters))

    @cached_property
    def embedder(self) -> Embedder:
        """The embedding model that the configuration names, in the dtype this machine runs fastest."""
        from assistant.retrieval.pinned import named

        return named(self.settings.models.embedder, self.settings)

    def embedder_of(self, digest: str) -> Embedder:
        """Return the embedding model of a digest, of those that assistant.yaml pins at this moment.

        Raises:
            ModelError: none that is here is it.
        """
        from assistant.retrieval.pinned import of

        return self.embedder if digest == self.embedder.digest else of(digest, load(self.settings.file))

    @cached_property
    def serving(self) -> Serving:
        """What answers with the embedder that made the stored vectors; it follows a change of embedder."""
        from assistant.serving import Serving

        return Serving(self.documents, self._parts, self.embedder.digest)

    def _parts(self, digest: str) -> Parts:
        """Say how what depends on the embedder of a digest is made."""
        from assistant.retrieval.remembered import Remembered
        from assistant.serving import Parts

        embedder = Remembered(self.embedder_of(digest))
        return Parts(
            embedder, search=partial(self._search, embedder), routing=partial(self._routing, embedder)
        )

    def _search(self, embedder: TextEmbedder) -> Search:
        from assistant.retrieval.search import Search

        count, reranker = self.settings.retrieval.reranked, self.reranker
        return Search(
            self.documents,
            embedder,
            self.settings.path(self.settings.indexes),
            reordered=partial(reranker.reordered, count=count) if reranker else None,
        )

    def _routing(self, embedder: TextEmbedder) -> Live:
        from assistant.routing.live import Live

        folder = self.settings.path(self.settings.adapters)
        return Live(folder, ("*/adapter.yaml", "*/questions.jsonl"), partial(self._learned, embedder))

    @property
    def search(self) -> Search:
        """Hybrid search over both indexes."""
        return self.serving().search

    @property
    def routing(self) -> Live:
        """The router in service: call it. It follows the departments' files without a restart."""
        return self.serving().routing

    @cached_property
    def reranker(self) -> Reranker | None:
        """The cross-encoder that orders the best passages anew, where configuration names one."""
        from assistant.retrieval.pinned import reranker

        name = self.settings.retrieval.reranker
        return reranker(name, self.settings) if name else None

    @property
    def router(self) -> Router:
        """The router of the moment."""
        return self.routing()

    def _learned(self, embedder: TextEmbedder) -> Router:
        """Learn a router from the departments' files, or read the one kept beside the indexes."""
        from assistant.routing.examples import Examples
        from assistant.routing.learned import Learned
        from assistant.routing.router import Router

        departments = {name: self.adapters.config(name) for name in self.adapters.departments()}
        examples = Examples.read(self.settings.path(self.settings.adapters), departments)
        learned = Learned.kept(
            self.settings.path(self.settings.indexes) / "router.npz",
            examples,
            embed=embedder.embed,
            embedder=embedder.digest,
        )
        return Router.of(learned, embedder.embed, self.settings.routing)

    @cached_property
    def engine(self) -> Engine:
        """The generating model."""
        chosen = self.settings.engine
        if isinstance(chosen, HttpEngine):
            from assistant.engine.http import HttpEngine as RemoteEngine
            from assistant.models.catalogue import pin_of
            from assistant.models.digests import MANIFEST

            pin = pin_of(self.settings.models.base, self.settings.models)
            folder = self.settings.path(self.settings.models.folder) / self.settings.models.base
            here = folder if (folder / MANIFEST).is_file() else None
            return RemoteEngine.connect(chosen, base_digest=pin.sha256, folder=here)
        from assistant.engine.local import LocalEngine
        from assistant.models.pull import located

        return LocalEngine.open(
            located(self.settings.models.base, self.settings),
            dtype=chosen.dtype,
            device=chosen.device,
            threads=chosen.threads,
            prepack=chosen.prepack,
            kernels=chosen.kernels,
            cache_mb=chosen.cache_mb,
            resident_adapters=chosen.resident_adapters,
            batch_size=chosen.batch_size,
            prefix_cache_mb=chosen.prefix_cache_mb,
            queue_length=chosen.queue_length,
            max_wait_s=chosen.max_wait_s,
            longest_pause_s=chosen.longest_pause_s,
        )

    @cached_property
    def chat(self) -> Chat:
        """The pipeline of one question."""
        from assistant.chat import Chat
        from assistant.record import Recorder

        recorder = Recorder(
            self.log,
            model=self.settings.models.base,
            fingerprint=self.engine.fingerprint,
            reranker=self.reranker.digest if self.reranker else None,
        )
        return Chat(
            settings=self.settings,
            access=lambda: self.access,
            permissions=self.permissions,
            rules=self.rules,
            router=lambda: self.router,
            search=lambda: self.search,
            adapters=self.adapters,
            engine=self.engine,
            recorder=recorder,
        )

    def ingest(
        self,
        connector: Connector,
        progress: Callable[[Progress], None] = lambda _: None,
        *,
        under: str = "",
        proceed: Callable[[], None] = lambda: None,
    ) -> Summary:
        """Ingest one source, or the part of it `under` a folder, for as long as `proceed` does not raise."""
        from assistant.extraction.extract import Extractor
        from assistant.ingest import run

        self.reembed(proceed=proceed)
        self.documents.look_at_all(proceed)
        readers = min(_READERS, os.cpu_count() or 1)
        try:
            with Extractor(workers=readers, readers=self.settings.extraction.readers) as extractor:
                summary = run(
                    connector,
                    documents=self.documents,
                    extractor=extractor,
                    embed=partial(self.embedder.embed, proceed=proceed),
                    count=self.embedder.count_tokens,
                    longest=self.embedder.max_tokens,
                    embedder=self.embedder.digest,
                    settings=self.settings,
                    progress=progress,
                    proceed=proceed,
                    abandon=extractor.close,
                    under=under,
                    readers=readers,
                )
        finally:
            self.remover.settle()
        self.documents.prune()
        return summary

    def reembed(
        self,
        progress: Callable[[int, int], None] = lambda done, total: None,
        proceed: Callable[[], None] = lambda: None,
    ) -> int:
        """Embed what another embedder embedded, beside what serves, then swap; return how many chunks."""
        from assistant.reembed import reembed

        with self._reembedding:  # sources are ingested side by side
            embed = partial(self.embedder.embed, proceed=proceed)
            return reembed(self.database, embed, self.embedder.digest, progress)

    def preview(self, connector: Connector, *, under: str = "") -> Iterator[tuple[str, Outcome]]:
        """Yield the uri of every file of a source, and how an ingest would end with it."""
        from assistant.ingest import preview

        return preview(
            connector,
            documents=self.documents,
            embedder=self.embedder.digest,
            settings=self.settings,
            under=under,
        )

    @cached_property
    def remover(self) -> Remover:
        """Removes documents, with a receipt."""
        from assistant.removal import Remover

        return Remover(
            self.database,
            self.documents,
            self.log,
            self.adapters,
            indexes=self._followed,
            purge=self._purged,
        )

    def _followed(self) -> dict[str, int]:
        """Bring the indexes up to date where they are open here; return their change numbers."""
        if "serving" not in self.__dict__:
            from assistant.retrieval.ondisk import numbers

            return numbers(self.settings.path(self.settings.indexes))
        search = self.search
        search.catch_up()
        return search.numbers

    def _purged(self) -> dict[str, int]:
        """Empty the caches that hold what came of documents; return how much they held."""
        from assistant.engine.local import LocalEngine

        engine = self.__dict__.get("engine")
        return {"prompts": engine.forget_prompts()} if isinstance(engine, LocalEngine) else {}

    def verify(self) -> Verification:
        """Verify the audit log against its signed head, read-only."""
        from assistant.audit.verify import verify

        return verify(self.database, self.settings.path(self.settings.audit.folder))

    def warm(self) -> None:
        """Load everything a question needs: the first one does not wait, and what is broken is said now."""
        _ = self.people, self.access
        self.remover.settle()
        _ = self.chat
        self.serving().warm()

    async def pin(self) -> None:
        """Load the champions that the configuration keeps resident.

        Raises:
            AdapterError: a pinned department has none, or it cannot be served.
        """
        from assistant.engine.local import LocalEngine

        if isinstance(self.engine, LocalEngine) and isinstance(self.settings.engine, LocalSettings):
            champions = [self.adapters.resolve(name) for name in self.settings.engine.pinned_adapters]
            await self.engine.pin(version.digest for version in champions)
            for version in champions:
                await self.engine.load(version)

    async def close(self, grace_s: float = 0.0) -> None:
        """Close what was opened; running answers get `grace_s` to finish."""
        if "engine" in self.__dict__:
            await self.engine.close(grace_s)
        if "database" in self.__dict__:
            self.database.close()
