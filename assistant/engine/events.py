"""Server-sent events of the OpenAI protocol -> deltas.

It owns reading them, in the form of chat and in that of completions; it refuses to call an answer
complete that the server did not end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistant.engine import wire
from assistant.engine.base import Delta, Finish, TokenLogprob
from assistant.errors import EngineError, Unsupported

_FINISHES: Mapping[str, Finish] = {
    "stop": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop", "length": "length",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What one server-sent event says."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reused_tokens: int | None = None


class Answer:
    """The deltas of one streamed answer, made of its events.

    Args:
        likeliest: alternatives to each token that were asked for.
    """

    def __init__(self, likeliest: int = 0) -> None:
        self._likeliest = likeliest
        self._tokens: tuple[int, ...] = ()
        self._logprobs: tuple[TokenLogprob, ...] = ()
        self._last = Event()

    def add(self, data: str) -> Delta | None:
        """Take the data of an event; return the text it releases with all tokens since the last.

        Raises:
            EngineError: it cannot be read, or is an error.
        """
        said = event(data, self._likeliest)
        self._tokens += said.tokens
        self._logprobs += said.logprobs
        self._last = Event(
            finish=said.finish or self._last.finish,
            prompt_tokens=said.prompt_tokens or self._last.prompt_tokens,
            completion_tokens=said.completion_tokens or self._last.completion_tokens,
            reused_tokens=said.reused_tokens or self._last.reused_tokens,
        )
        if not said.text:
            return None
        delta = Delta(text=said.text, tokens=self._tokens, logprobs=self._logprobs)
        self._tokens, self._logprobs = (), ()
        return delta

    def last(self) -> Delta:
        """Return the delta with finish and totals.

        Raises:
            EngineError: the stream ended before the answer did.
        """
        if self._last.finish is None:
            raise EngineError("The model server ended the stream before the answer was complete.")
        return Delta(
            text="",
            tokens=self._tokens,
            logprobs=self._logprobs,
            finish=self._last.finish,
            prompt_tokens=self._last.prompt_tokens or 0,
            completion_tokens=self._last.completion_tokens or 0,
            reused_tokens=self._last.reused_tokens or 0,
        )


def event(data: str, likeliest: int = 0) -> Event:
    """Read the data of one event.

    Args:
        likeliest: alternatives to each token that were asked for.

    Raises:
        EngineError: it is not what the protocol says, or carries an error, or ends the answer early.
    """
    try:
        content = json.loads(data)
        if "error" in content:
            raise wire.refusal(_code(content["error"]), content)
        usage = content.get("usage") or {}
        [choice] = (content.get("choices") or [{}])[:1]
        said = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
        return Event(
            text=str(said),
            tokens=tuple(int(token) for token in choice.get("token_ids") or ()),
            logprobs=tuple(_logprobs(choice.get("logprobs") or {}, likeliest)),
            finish=_finish(choice.get("finish_reason")),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            reused_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        )
    except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
        raise EngineError(f"The model server sent an event that cannot be read: {data[:200]}") from error


def _code(error: object) -> int:
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else 500


def _finish(reason: str | None) -> Finish | None:
    if reason is None:
        return None
    if reason not in _FINISHES:
        raise EngineError(f"The model server ended the answer early: {reason}.", remedy="Ask again.")
    return _FINISHES[reason]


def _logprobs(given: Mapping[str, Any], likeliest: int) -> list[TokenLogprob]:
    """Both forms: `content` of chat, and the parallel lists of completions."""
    if "content" in given:
        tops = [
            {one["token"]: one["logprob"] for one in at.get("top_logprobs") or ()} for at in given["content"]
        ]
        return [
            _logprob(at["token"], at["logprob"], top, likeliest)
            for at, top in zip(given["content"], tops, strict=True)
        ]
    tokens = given.get("tokens") or ()
    tops = [top or {} for top in given.get("top_logprobs") or [{}] * len(tokens)]
    lists = zip(tokens, given.get("token_logprobs") or (), tops, strict=True)
    return [_logprob(token, logprob, top, likeliest) for token, logprob, top in lists]


def _logprob(token: str, logprob: float, top: Mapping[str, float], likeliest: int) -> TokenLogprob:
    best = sorted(top.items(), key=lambda one: -one[1])[:likeliest]
    return TokenLogprob(
        token=_id(token), logprob=float(logprob), likeliest=tuple((_id(t), float(p)) for t, p in best)
    )


def _id(token: str) -> int:
    prefix, _, number = token.partition(":")
    if prefix != "token_id":
        raise Unsupported("The model server gives no log-probabilities by token id.")
    return int(number)
