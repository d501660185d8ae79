"""Turns what happened to a question into entries of the log.

It owns which facts of an answer are recorded and under which names; texts go into the sealed body,
salted digests of them into the entry. It decides nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from assistant.audit.entry import Body, DecisionRecord, Draft, PassageRecord, RouteRecord
from assistant.audit.log import AuditLog
from assistant.engine.base import Delta, Fingerprint
from assistant.prompt import Prompt
from assistant.types import Citation, Decision, Passage, Question, Receipt, Route, Status


class Recorder:
    """Writes the opening and the closing entry of each answer."""

    def __init__(
        self,
        log: AuditLog,
        *,
        model: str,
        fingerprint: Fingerprint,
        reranker: str | None = None,
    ) -> None:
        """Record into `log`; `reranker` is the digest of what orders passages anew."""
        self._log = log
        self._identity: dict[str, str | int] = {
            "gen_ai.request.model": model,
            "assistant.base.digest": fingerprint.base_digest,
            "assistant.tokenizer.digest": fingerprint.tokenizer_digest,
            "assistant.template.digest": fingerprint.template_digest,
            "assistant.engine": fingerprint.engine,
            "assistant.engine.dtype": fingerprint.dtype,
            "assistant.engine.threads": fingerprint.threads,
            "assistant.engine.versions": " ".join(fingerprint.versions),
            **({"assistant.reranker.digest": reranker} if reranker else {}),
        }

    def opened(
        self,
        id: str,
        asked: Question,
        route: Route,
        passages: Sequence[Passage],
        prompt: Prompt,
        *,
        embedder: str,
    ) -> Receipt:
        """Record that a prompt is about to be answered, before its first sentence is released.

        Args:
            embedder: digest of what found the passages.
        """
        salt = secrets.token_hex(16)
        rendered = tuple((message.role, message.content) for message in prompt.sent)
        draft = Draft(
            kind="question.opened",
            id=id,
            user=asked.user.id,
            route=_route(route),
            passages=_passages(passages, ()),
            attributes=self._attributes(asked, embedder),
            digests={
                "question": _salted(salt, asked.text),
                "prompt": _salted(salt, "\n".join(f"{role}: {content}" for role, content in rendered)),
            },
        )
        return self._log.append(draft, _body(salt, asked, prompt=rendered))

    def closed(
        self,
        id: str,
        asked: Question,
        *,
        route: Route,
        status: Status,
        text: str,
        passages: Sequence[Passage],
        citations: Sequence[Citation],
        decisions: Sequence[Decision],
        usage: Delta,
        embedder: str,
    ) -> Receipt:
        """Record how the question ended, before its last sentence is released."""
        salt = secrets.token_hex(16)
        draft = Draft(
            kind="answer.closed",
            id=id,
            user=asked.user.id,
            status=status,
            route=_route(route),
            passages=_passages(passages, citations),
            decisions=tuple(_decision(decision) for decision in decisions),
            attributes={
                **self._attributes(asked, embedder),
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
            },
            digests={"question": _salted(salt, asked.text), "answer": _salted(salt, text)},
        )
        return self._log.append(draft, _body(salt, asked, answer=text))

    def _attributes(self, asked: Question, embedder: str) -> dict[str, str | int | float | bool | None]:
        sampling = asked.sampling
        own: dict[str, str | int | float | bool | None] = {
            **self._identity,
            "assistant.embedder.digest": embedder,
        }
        if asked.caller:
            own["assistant.caller"] = asked.caller
        if sampling:
            own["gen_ai.request.temperature"] = sampling.temperature
            own["gen_ai.request.top_p"] = sampling.top_p
            own["gen_ai.request.max_tokens"] = sampling.max_tokens
            own["gen_ai.request.seed"] = sampling.seed
            own["gen_ai.request.top_k"] = sampling.top_k
            own["gen_ai.request.presence_penalty"] = sampling.presence_penalty
            own["assistant.request.min_p"] = sampling.min_p
            own["assistant.request.repetition_penalty"] = sampling.repetition_penalty
        return own


def _body(salt: str, asked: Question, *, prompt: tuple[tuple[str, str], ...] = (), answer: str = "") -> Body:
    history = tuple((message.role, message.content) for message in asked.history)
    return Body(salt=salt, question=asked.text, history=history, prompt=prompt, answer=answer)


def _salted(salt: str, text: str) -> str:
    return hashlib.sha256(f"{salt}\x00{text}".encode()).hexdigest()


def _route(route: Route) -> RouteRecord:
    return RouteRecord(
        department=route.department,
        adapter=route.adapter,
        confidence=round(route.confidence, 4),
        reason=route.reason,
        outcome=route.outcome,
    )


def _passages(passages: Sequence[Passage], citations: Sequence[Citation]) -> tuple[PassageRecord, ...]:
    cited = {citation.number for citation in citations}
    return tuple(
        PassageRecord(
            number=number,
            document_id=passage.document.id,
            source=passage.document.source,
            uri=passage.document.uri,
            content_digest=passage.document.content_digest,
            chunk_id=passage.chunk.id,
            start=passage.chunk.start,
            end=passage.chunk.end,
            score=round(passage.score, 6),
            cited=number in cited,
        )
        for number, passage in enumerate(passages, 1)
    )


def _decision(decision: Decision) -> DecisionRecord:
    return DecisionRecord(
        action=decision.action,
        rule=decision.rule,
        version=decision.version,
        stage=decision.stage,
        mode=decision.mode,
        reason=decision.reason,
    )
