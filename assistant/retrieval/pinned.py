"""The models of retrieval that a workspace pins and pulled: by name, or by the digest that vectors carry."""

from __future__ import annotations

from contextlib import suppress

from assistant.config import Settings
from assistant.errors import ConfigError, ModelError
from assistant.models.catalogue import known, pin_of
from assistant.models.pull import located
from assistant.retrieval.embed import Embedder
from assistant.retrieval.rerank import Reranker


def named(name: str, settings: Settings) -> Embedder:
    """Return the embedding model of a name, to be run in the dtype and way this machine runs fastest.

    Raises:
        ConfigError: no pin has that name.
        ModelError: it was not pulled, or is no embedding model that can be used.
    """
    pin = pin_of(name, settings.models)
    remembered = settings.path(settings.indexes) / "embedding-speed.json"
    return Embedder.load(located(name, settings), max_tokens=pin.max_tokens, remembered=remembered)


def of(digest: str, settings: Settings) -> Embedder:
    """Return the embedding model of a digest.

    Raises:
        ModelError: none that is pinned and here is it.
    """
    for name, pin in known(settings.models).items():
        if pin.kind == "embedder":
            with suppress(ConfigError, ModelError):
                found = named(name, settings)
                if found.digest == digest:
                    return found
    raise ModelError(
        f"No model here is the embedder {digest[:16]}, which made the stored vectors.",
        remedy="Name it as `models.embedder` and run `assistant models pull`.",
    )


def reranker(name: str, settings: Settings) -> Reranker:
    """Return the cross-encoder of a name.

    Raises:
        ConfigError: no pin has that name, or it is of another kind.
        ModelError: it was not pulled, or cannot be used.
    """
    pin = pin_of(name, settings.models)
    if pin.kind != "cross-encoder":
        raise ConfigError(
            f"`retrieval.reranker` names {name}, which is a pin of kind {pin.kind}.",
            remedy="Name one of kind cross-encoder, or leave it out.",
        )
    return Reranker.load(located(name, settings), max_tokens=pin.max_tokens)
