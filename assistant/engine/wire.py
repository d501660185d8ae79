"""The OpenAI protocol as vLLM and hosted multi-LoRA servers speak it: bodies, events and errors.

It owns the translation between the engine contract and JSON; it refuses to open connections.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assistant.engine.base import Finish, GenerateRequest, Sampling
from assistant.engine.chat import broken
from assistant.errors import AdapterError, AssistantError, EngineError, Overloaded, TooLarge, Unsupported
from assistant.types import Message

_SPECIAL = re.compile(r"<\|[^|<>\s]+\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")
_TOO_LONG = re.compile(r"context length|maximum.*tokens|too (?:long|large)", re.I)
DONE = "[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What one server-sent event says."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    finish: Finish | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as JSON; special tokens spelled out in content are broken apart, so none forges a turn."""
    return [
        {"role": turn.role, "content": broken(turn.content, sorted(set(_SPECIAL.findall(turn.content))))}
        for turn in messages
    ]


def path(request: GenerateRequest) -> str:
    """Where a request goes: tokens to the completions endpoint, messages to chat."""
    return "/v1/completions" if request.tokens else "/v1/chat/completions"


def body(request: GenerateRequest, model: str) -> dict[str, object]:
    """Return the JSON body of a streamed generation; settings that are off are left to the server."""
    prompt: dict[str, object] = (
        {"prompt": list(request.tokens)} if request.tokens else {"messages": turns(request.messages)}
    )
    if request.messages and request.messages[-1].role == "assistant":  # vLLM's way to continue a turn
        prompt |= {"continue_final_message": True, "add_generation_prompt": False}
    return {
        **prompt,
        **_settings(request.sampling),
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _settings(sampling: Sampling) -> dict[str, object]:
    settings: dict[str, object] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    optional: dict[str, tuple[object, object]] = {
        "top_p": (sampling.top_p, 1.0),
        "top_k": (sampling.top_k, 0),
        "seed": (sampling.seed, None),
        "repetition_penalty": (sampling.repetition_penalty, 1.0),
        "stop": (list(sampling.stop), []),
    }
    settings.update({name: value for name, (value, off) in optional.items() if value != off})
    return settings


def event(data: str) -> Event:
    """Read the data of one event.

    Raises:
        EngineError: it is not what the protocol says, or carries an error.
    """
    try:
        content = json.loads(data)
        if "error" in content:
            raise refusal(int(content["error"].get("code") or 500), content)
        usage = content.get("usage") or {}
        choices = content.get("choices") or [{}]
        said = choices[0].get("delta", {}).get("content") or choices[0].get("text") or ""
        reason = choices[0].get("finish_reason")
        return Event(
            text=str(said),
            tokens=tuple(choices[0].get("token_ids") or ()),
            finish=None if reason is None else "length" if reason == "length" else "stop",
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
        )
    except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
        raise EngineError(f"The model server sent an event that cannot be read: {data[:200]}") from error


def refusal(status: int, content: object, headers: Mapping[str, str] | None = None) -> AssistantError:
    """Return the error that a server's refusal means."""
    said = _message(content)
    if status in (429, 503):
        wait = (headers or {}).get("retry-after", "")
        return Overloaded(
            f"The model server is overloaded: {said}",
            retry_after_s=float(wait) if wait.isdigit() else 5.0,
            remedy="Retry later.",
        )
    if status in (400, 413, 422) and _TOO_LONG.search(said):
        return TooLarge(f"The model server refused the length: {said}", remedy="Shorten the question.")
    if status == 404 and "model" in said.lower():
        return AdapterError(f"The model server does not serve this model: {said}", remedy="Load the adapter.")
    if status in (404, 405, 501):
        return Unsupported(f"The model server does not offer this: {said}")
    if status in (401, 403):
        return EngineError(f"The model server refused the key: {said}", remedy="Set `engine.api_key`.")
    return EngineError(f"The model server answered {status}: {said}")


def _message(content: object) -> str:
    if isinstance(content, dict):
        inner = content.get("error", content)
        content = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(content)[:300]


def prompt_scores(content: object, tokens: Sequence[int]) -> list[float]:
    """Log-probabilities of the last `tokens` of a prompt, from vLLM's `prompt_logprobs`.

    Raises:
        Unsupported: the server gave none.
    """
    try:
        given = content["choices"][0]["prompt_logprobs"]  # type: ignore[index]
        last = given[len(given) - len(tokens) :]
        return [float(at[str(token)]["logprob"]) for at, token in zip(last, tokens, strict=True)]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise Unsupported("The model server does not score prompts (`prompt_logprobs`).") from error
