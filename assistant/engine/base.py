"""The engine contract: what any text generator must do to serve this project.

It owns the request and delta shapes and the protocol; `assistant.testing.engine_contract` is the
suite every implementation passes. It knows nothing of retrieval, policies or departments' names.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from assistant.types import AdapterVersion, Message
from assistant.types import Sampling as Sampling

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """One generation. Give `messages` (rendered by the model's chat template) or `tokens`.

    If the last message is the assistant's own, the completion continues it and does not repeat it.

    `adapter` is the digest of a loaded adapter version, or None for the bare base model; `queue`
    is the name under which the request shares the engine fairly (a department).
    """

    messages: tuple[Message, ...] = ()
    tokens: tuple[int, ...] = ()
    adapter: str | None = None
    queue: str = ""
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of generated text. The last one carries `finish` and the totals.

    `text` never ends inside a UTF-8 character; `tokens` are the ids generated since the last delta.
    """

    text: str
    tokens: tuple[int, ...] = ()
    finish: Finish | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """All that can change a token, for receipts and replay. Digests are sha256 hex."""

    base_digest: str
    tokenizer_digest: str
    template_digest: str
    engine: str
    dtype: str
    threads: int
    versions: tuple[str, ...] = ()


class Engine(Protocol):
    """A base model that serves many adapters, chosen per request."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Identity of model, arithmetic and libraries."""
        ...

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus completion, in tokens."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return number of tokens of `text`, without special tokens."""
        ...

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return number of tokens of a whole rendered prompt, generation header included."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Stream one completion; closing the iterator cancels within one step.

        Raises:
            TooLarge: prompt and `max_tokens` exceed `context_tokens`; raised before queueing.
            AdapterError: the adapter is not loaded.
            Overloaded: the queue is full.
        """
        ...

    async def score(
        self, messages: Sequence[Message], completion: str, adapter: str | None = None
    ) -> list[float]:
        """Natural-log probability of each token of `completion` after the rendered prompt.

        Raises:
            Unsupported: this engine cannot score.
        """
        ...

    async def load(self, version: AdapterVersion) -> None:
        """Make an adapter servable; loading one twice is a no-op.

        Raises:
            AdapterError: missing, damaged, of another base, or of a kind that cannot be served.
        """
        ...

    async def unload(self, digest: str) -> None:
        """Forget an adapter; unknown digests are ignored."""
        ...

    async def close(self) -> None:
        """Finish or cancel what runs and free the model."""
        ...
