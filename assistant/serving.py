"""What answers questions with one embedder, and its successor once the database went over to another one.

It owns when to look and the swap: a successor is made in the background, whole, from the model to the
indexes and the router, while what serves goes on with what it holds. How the parts are made is handed in. It
refuses to serve less than before: where no successor can be made, the parts at hand stay and the reason is
logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cached_property

from assistant.errors import AssistantError
from assistant.retrieval.search import Search, TextEmbedder
from assistant.routing.live import Live
from assistant.store.documents import Documents

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
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


class Serving:
    """Call it for the parts of the moment. A look at the database takes a moment, once a second."""

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
        self._documents, self._make, self._configured = documents, make, configured
        self.look_every_s = look_every_s
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._next = 0.0
        self._making: threading.Thread | None = None

    def __call__(self) -> Parts:
        """Return the parts at hand; the first call makes them, later ones begin to make a successor.

        Raises:
            AssistantError: there are none yet, and they cannot be made.
        """
        with self._lock:
            if self._parts is None:
                self._parts = self._first()
            elif time.monotonic() >= self._next and not self.changing:
                self._look(self._parts)
            return self._parts

    @property
    def changing(self) -> bool:
        """Whether a successor is being made."""
        return self._making is not None and self._making.is_alive()

    def settle(self) -> None:
        """Wait until what is being made serves."""
        if self._making is not None:
            self._making.join()

    def _first(self) -> Parts:
        stored = self._documents.embedded_by(self._configured)
        if stored != self._configured:
            try:
                return self._make(stored)
            except AssistantError as error:
                log.warning("what is stored cannot be searched by meaning yet: %s", error)
        return self._make(self._configured)

    def _look(self, parts: Parts) -> None:
        self._next = time.monotonic() + self.look_every_s
        stored = self._documents.embedded_by(parts.embedder.digest)
        if stored != parts.embedder.digest:
            self._making = threading.Thread(
                target=self._succeed, args=(parts, stored), name="embedder swap", daemon=True
            )
            self._making.start()

    def _succeed(self, parts: Parts, stored: str) -> None:
        parts.search.following = False  # the indexes on disk are its successor's from here on
        try:
            successor = self._make(stored)
            successor.warm()
            self._parts = successor
            log.info("the documents were embedded anew: questions are embedded as they are now")
            return
        except AssistantError as error:
            log.warning("the documents were embedded anew, but what serves goes on as it was: %s", error)
        except Exception:  # noqa: BLE001 - the edge of a thread
            log.exception("the documents were embedded anew, but what serves goes on as it was")
        parts.search.following = True
        self._next = time.monotonic() + _AGAIN_S
