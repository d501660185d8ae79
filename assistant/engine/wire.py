"""The OpenAI protocol as vLLM and hosted multi-LoRA servers speak it: bodies and errors.

It owns the translation between the engine contract and JSON; it refuses to open connections.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence

from assistant.engine.base import GenerateRequest, Sampling
from assistant.engine.chat import broken
from assistant.errors import (
    AdapterError,
    AssistantError,
    BadRequest,
    EngineError,
    Overloaded,
    TooLarge,
    Unsupported,
)
from assistant.types import Message

_SPECIAL = re.compile(r"<\|[^|<>\s]+\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")
_TOO_LONG = re.compile(r"context length|max_model_len|maximum.*tokens|too (?:long|large)", re.I)
_UNKNOWN_FIELD = re.compile(
    r"unrecogni[sz]ed|unsupported|not (?:supported|permitted|allowed)|extra (?:inputs|fields)|max allowed",
    re.I,
)


def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as JSON; special tokens spelled out in content are broken apart, so none forges a turn."""
    return [
        {"role": turn.role, "content": broken(turn.content, sorted(set(_SPECIAL.findall(turn.content))))}
        for turn in messages
    ]


def prompt(messages: Sequence[Message]) -> dict[str, object]:
    """Messages and how vLLM renders them: a begun answer is continued, anything else is answered."""
    begun = continues(messages)
    return {
        "messages": turns(messages),
        "continue_final_message": begun,
        "add_generation_prompt": not begun,
    }


def continues(messages: Sequence[Message]) -> bool:
    """Whether the last message is an answer already begun."""
    return bool(messages) and messages[-1].role == "assistant" and bool(messages[-1].content)


def path(request: GenerateRequest) -> str:
    """Where a request goes: tokens to the completions endpoint, messages to chat."""
    return "/v1/completions" if request.tokens else "/v1/chat/completions"


def body(request: GenerateRequest, model: str, *, hosted: bool) -> dict[str, object]:
    """Return the JSON body of a streamed generation.

    vLLM is told every setting, since it fills in the model's own defaults; a hosted server only those that
    are on, since it may not know the others.

    Raises:
        Unsupported: no such server can do this.
    """
    if request.deterministic:
        raise Unsupported("A model server repeats no answer for sure.", remedy="Use the local engine.")
    common: dict[str, object] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.sampling.max_tokens,
        "temperature": request.sampling.temperature,
    }
    settings = _settings(request.sampling)
    if not hosted:
        given = {name: value for name, (value, _) in settings.items() if value is not None}
        return common | given | _prompt(request) | _for_vllm(request)
    if continues(request.messages):
        raise Unsupported("A hosted model server continues no answer.", remedy="Set `prompt.lead: false`.")
    if request.sampling.logprobs is not None:
        raise Unsupported("A hosted model server gives no log-probabilities by token id.")
    shown = {"prompt": list(request.tokens)} if request.tokens else {"messages": turns(request.messages)}
    return common | {name: value for name, (value, off) in settings.items() if value != off} | shown


def _settings(sampling: Sampling) -> dict[str, tuple[object, object]]:
    """Name, value and the value that switches it off."""
    return {
        "top_p": (sampling.top_p, 1.0),
        "top_k": (sampling.top_k, 0),
        "min_p": (sampling.min_p, 0.0),
        "seed": (sampling.seed, None),
        "repetition_penalty": (sampling.repetition_penalty, 1.0),
        "presence_penalty": (sampling.presence_penalty, 0.0),
        "stop": (list(sampling.stop), []),
    }


def _prompt(request: GenerateRequest) -> dict[str, object]:
    return {"prompt": list(request.tokens)} if request.tokens else prompt(request.messages)


def _for_vllm(request: GenerateRequest) -> dict[str, object]:
    """Token ids in the answer, log-probabilities by id, and whose cached prefixes may be used.

    vLLM salts a whole prompt: what is not everybody's is shared within its scope, or not at all.
    """
    wanted: dict[str, object] = {"return_token_ids": True}
    if request.tokens or request.public_messages < len(request.messages):
        wanted["cache_salt"] = request.scope or secrets.token_hex(16)
    if (likeliest := request.sampling.logprobs) is not None:
        wanted["return_tokens_as_token_ids"] = True
        wanted |= {"logprobs": likeliest} if request.tokens else {"logprobs": True, "top_logprobs": likeliest}
    return wanted


def refusal(status: int, content: object, headers: Mapping[str, str] | None = None) -> AssistantError:
    """Return the error that a server's refusal means."""
    said = message(content)
    if status in (429, 503):
        wait = (headers or {}).get("retry-after", "")
        return Overloaded(
            f"The model server is overloaded: {said}",
            retry_after_s=float(wait) if wait.isdigit() else 5.0,
            remedy="Retry later.",
        )
    if status in (400, 413, 422) and _TOO_LONG.search(said):
        return TooLarge(f"The model server refused the length: {said}", remedy="Shorten the question.")
    if status in (400, 422) and _UNKNOWN_FIELD.search(said):
        return Unsupported(f"The model server cannot do this: {said}")
    if status == 404 and re.search("model|adapter", said, re.I):
        return AdapterError(f"The model server does not serve this model: {said}", remedy="Load the adapter.")
    if status in (404, 405, 501):
        return Unsupported(f"The model server does not offer this: {said}")
    if status in (401, 403):
        return EngineError(f"The model server refused the key: {said}", remedy="Set `engine.api_key`.")
    if status in (400, 422):
        return BadRequest(f"The model server refused the request: {said}")
    return EngineError(f"The model server answered {status}: {said}")


def message(content: object) -> str:
    """Return what a server says was wrong."""
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
