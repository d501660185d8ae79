"""What answers questions with one embedder, and its successor once the database went over to another one.

It owns what belongs together, from the model to the indexes and the router, and who follows the indexes on
disk meanwhile. How the parts are made is handed in; when to look and the swap are `succession`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

from assistant.errors import AssistantError
from assistant.retrieval.search import Search, TextEmbedder
from assistant.routing.live import Live
from assistant.store.documents import Documents
from assistant.succession import LOOK_EVERY_S, Succession

_AGAIN_S = 60.0
"""How long after a failure it is tried again: the model may have been pulled since."""


class Parts:
    """What depends on the embedder; search and router are made when first used."""

    def __init__(
        self, embedder: TextEmbedder, *, search: Callable[[], Search], routing: Callable[[], Live]
    ) -> None:
        """Take the embedder and how the others are made of it."""
        self.embedder = embedder
        self._make_search, self._make_routing = search, routing

    @cached_property
    def search(self) -> Search:
        """Hybrid search by this embedder's vectors."""
        return self._make_search()

    @cached_property
    def routing(self) -> Live:
        """The router that learned by this embedder's vectors: call it."""
        return self._make_routing()

    def warm(self) -> None:
        """Load and learn everything, so that no question waits for it."""
        self.embedder.embed(["warm"])
        self.search.catch_up()
        self.routing()


class Serving(Succession[Parts, str]):
    """Call it for the parts of the moment. A look at the database takes a moment, once a second."""

    _log: ClassVar = logging.getLogger("assistant.serving")
    _followed: ClassVar = "the documents were embedded anew: questions are embedded as they are now"
    _kept: ClassVar = "the documents were embedded anew, but what serves goes on as it was"

    def __init__(
        self,
        documents: Documents,
        make: Callable[[str], Parts],
        configured: str,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Serve what is stored; `make` makes the parts of the embedder of a digest.

        Args:
            configured: digest of the embedder to begin with where nothing is stored yet, or where the one
                it was embedded with is not here: after a change of configuration, until that is ingested.
        """
        super().__init__(look_every_s)
        self._documents, self._make, self._configured = documents, make, configured

    def _first(self) -> Parts:
        stored = self._documents.embedded_by(self._configured)
        if stored != self._configured:
            try:
                return self._make(stored)
            except AssistantError as error:
                self._log.warning("what is stored cannot be searched by meaning yet: %s", error)
        return self._make(self._configured)

    def _changed(self, made: Parts) -> str | None:
        """Return the digest of another embedder, by which everything stored is embedded now."""
        stored = self._documents.embedded_by(made.embedder.digest)
        return stored if stored != made.embedder.digest else None

    def _successor(self, made: Parts, state: str) -> Parts:
        made.search.following = False  # the indexes on disk are its successor's from here on
        try:
            successor = self._make(state)
            successor.warm()
        except BaseException:
            made.search.following = True
            self._wait(_AGAIN_S)
            raise
        return successor
