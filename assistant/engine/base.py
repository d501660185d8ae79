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

    An engine may keep what it computed of a prompt for later requests with the same adapter and tokens.
    The first `public_messages` are what anybody may be sent (system prompt, policy text). What follows
    is kept only under `scope`, the digest of the access classes the asker is permitted, and used again
    only for the same; without a scope it is not kept.

    `deterministic` asks for the same tokens each time, whatever else runs: slower, nothing reused.
    `deadline_s` is how long the whole answer may take from submission.
    """

    messages: tuple[Message, ...] = ()
    tokens: tuple[int, ...] = ()
    adapter: str | None = None
    queue: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    public_messages: int = 0
    scope: str | None = None
    deterministic: bool = False
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """Natural-log probability of a generated token, and of the likeliest in its place, best first."""

    token: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of generated text. The last one carries `finish` and the totals.

    `text` never ends inside a UTF-8 character; `tokens` are the ids generated since the last delta, and
    `logprobs` theirs, if they were asked for. `reused_tokens` counts prompt tokens not computed anew.
    """

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reused_tokens: int = 0


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
            Overloaded: the queue is full, or the engine is closing.
            DeadlineExceeded: `deadline_s` passed.
            Unsupported: this engine cannot do what the sampling asks for.
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

    async def close(self, grace_s: float = 0.0) -> None:
        """Take nothing new, finish what runs for up to `grace_s`, cancel the rest, free the model."""
        ...
