"""The pipeline of one question: rules, retrieve, route, compose, generate, check, record.

`stream` yields events, `answer` drains it; the API, the command line and the benchmarks all call these.
It owns the order of the steps and that no text leaves before its entry is durable; it chooses no
implementation and knows no transport.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from assistant.adapters.registry import CHAMPION, Registry
from assistant.config import Settings
from assistant.engine.base import Engine, GenerateRequest
from assistant.engine.sampling import check
from assistant.errors import BadRequest, Forbidden, TooLarge
from assistant.policies.access import Access
from assistant.policies.output import Gate, Outcome
from assistant.policies.permissions import Permissions
from assistant.policies.rules import RuleBook
from assistant.prompt import GENERIC_LEAD, GENERIC_STYLE, PUBLIC_MESSAGES, compose, scope
from assistant.record import Recorder
from assistant.retrieval.conversation import standalone
from assistant.retrieval.rank import Found
from assistant.retrieval.search import Search
from assistant.routing.router import Router
from assistant.turn import Closed, Event, Opened, Text, Turn
from assistant.types import AdapterVersion, Answer, Decision, Passage, Question, Route, Sampling, Status

MAX_QUESTION_CHARACTERS = 20_000
ROUTED_BY = 8
"""Passages whose departments the router looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The parts one question passes through, put together by `app`."""

    settings: Settings
    access: Callable[[], Access]
    permissions: Permissions
    rules: RuleBook
    router: Callable[[], Router]
    search: Callable[[], Search]
    adapters: Registry
    engine: Engine
    recorder: Recorder

    async def answer(self, asked: Question) -> Answer:
        """Answer a question: the whole of `stream`, drained.

        Raises:
            BadRequest: the question is empty or too long, or names an unknown department.
            EngineError, AuditError, StoreError: it could not be answered, or not be recorded.
        """
        async with aclosing(self.stream(asked)) as events:
            async for event in events:
                if isinstance(event, Closed):
                    return event.answer
        raise AssertionError("a stream ends with Closed")

    async def stream(self, asked: Question) -> AsyncGenerator[Event, None]:
        """Answer a question in events: Opened, Text…, Closed; closing the iterator stops generation.

        The texts joined are the answer's, also of one that a rule ended before generation.
        """
        turn = await asyncio.to_thread(self._turn, asked, f"ans-{uuid.uuid4().hex[:20]}")
        turn = turn.decided(*self.rules.decide("input", turn.facts))
        if not turn.block:
            turn = await asyncio.to_thread(self._retrieved, turn)
            turn = await asyncio.to_thread(self._routed, turn)
        if not turn.block:
            turn = turn.decided(*self.rules.decide("retrieval", turn.facts))
        if block := turn.block:
            answer = self._refuse(turn, block)
            yield Opened(id=turn.id, route=turn.route)
            yield Text(text=answer.text)
            yield Closed(answer=answer)
            return
        turn = await asyncio.to_thread(self._composed, turn)
        assert turn.prompt is not None
        self.recorder.opened(
            turn.id, asked, turn.route, turn.passages, turn.prompt, embedder=turn.search.embedder
        )
        gate = Gate(self.rules.output(turn.facts), turn.facts)
        released = ""
        try:
            yield Opened(id=turn.id, route=turn.route)
            if piece := gate.push(turn.prompt.lead):
                released += piece
                yield Text(text=piece)
            if turn.version:
                await self.engine.load(turn.version)
            async with aclosing(self.engine.generate(self._request(turn))) as deltas:
                async for delta in deltas:
                    if piece := gate.push(delta.text):
                        released += piece
                        yield Text(text=piece)
                    turn = replace(turn, usage=delta)
            outcome = gate.finish(cut=turn.usage.finish == "length")
        except BaseException:
            self._close(turn, "interrupted", released)
            raise
        answer = self._finish(turn, outcome, released)
        if rest := answer.text[len(released) :]:
            yield Text(text=rest)
        yield Closed(answer=answer)

    def route(self, asked: Question) -> Route:
        """Say where a question would go, before access to that department is decided.

        Raises:
            BadRequest: as `stream` does.
        """
        return self._chosen(self._retrieved(self._turn(asked)))

    def find(self, asked: Question, limit: int) -> Found:
        """Return what `stream` would retrieve for a question, and why; nothing is recorded.

        Raises:
            BadRequest: as `stream` does.
            Forbidden: a rule denies the question, or an answer from what it finds.
        """
        turn = self._turn(asked)
        turn = turn.decided(*self.rules.decide("input", turn.facts))
        found = Found(question=asked.text)
        if not turn.block:
            found = self._found(turn, self.permissions.permitted(asked.user), limit)
            turn = replace(turn, passages=tuple(found.passages))
            turn = turn.decided(*self.rules.decide("retrieval", turn.facts))
        for decision in turn.decisions:
            if decision.blocks and decision.action == "deny":
                raise Forbidden(decision.text or decision.reason)
        return found

    def _turn(self, asked: Question, id: str = "") -> Turn:
        return Turn(id=id, asked=_checked(asked, self.settings), search=self.search())

    def _chosen(self, turn: Turn) -> Route:
        asked = turn.asked
        if asked.department is not None:
            self.adapters.config(asked.department)
            return Route(department=asked.department, confidence=1.0, reason="chosen by the caller")
        return self.router().route(
            asked.text,
            earlier=[turn.content for turn in asked.history if turn.role == "user"],
            own=asked.user.department,
            evidence=turn.shares(ROUTED_BY),
        )

    def _routed(self, turn: Turn) -> Turn:
        """Choose the department: the explicit one if allowed, else the router's, else none."""
        asked, route = turn.asked, self._chosen(turn)
        turn = replace(turn, passages=self._shown(turn))
        if route.department is None:
            return replace(turn, route=route)
        allowed = self.access().may_ask(asked.user, route.department)
        if allowed.action == "allow":
            version = self._champion(route.department)
            route = replace(route, adapter=version.digest if version else None)
            return replace(turn, route=route, version=version)
        if asked.department is None:
            reason = f"{route.reason}; {route.department} is not open to this user: base model"
            return replace(turn, route=replace(route, department=None, reason=reason))
        text = f"You may not use the {route.department} assistant."
        return replace(turn, route=route).decided(replace(allowed, text=text))

    def _champion(self, department: str) -> AdapterVersion | None:
        """Return the version that serves a department; none is trained yet: the base model speaks."""
        if CHAMPION not in self.adapters.aliases(department):
            return None
        return self.adapters.resolve(department)

    def _retrieved(self, turn: Turn) -> Turn:
        """Find passages among what the asker may read, as many as the router looks at."""
        permitted = self.permissions.permitted(turn.asked.user)
        found = self._found(turn, permitted, max(ROUTED_BY, self.settings.prompt.passages))
        return replace(turn, permitted=permitted, passages=tuple(found.passages))

    def _found(self, turn: Turn, permitted: frozenset[int], limit: int) -> Found:
        candidates = self.settings.retrieval.candidates
        return turn.search.found(_standalone(turn.asked), permitted, limit=limit, candidates=candidates)

    def _shown(self, turn: Turn) -> tuple[Passage, ...]:
        """Choose what the model is shown: the best passages, in what stands around them where it sees all."""
        chosen = self.settings.prompt
        best = turn.passages[: chosen.passages]
        if chosen.sentences:
            return best
        count = self.engine.count_tokens
        return turn.search.joined(best, turn.permitted, budget=chosen.passage_tokens, count=count)

    def _composed(self, turn: Turn) -> Turn:
        """Compose the prompt; the passages that found room are the ones that count from here on."""
        department = turn.route.department
        voice = self.adapters.config(department) if department else None
        lead = (voice.lead if voice else "") or GENERIC_LEAD
        if sentences := self.settings.prompt.sentences:
            focused = turn.search.focus(_standalone(turn.asked), turn.passages, sentences)
            turn = replace(turn, passages=focused)
        prompt = compose(
            question=turn.asked.text,
            passages=turn.passages,
            style=voice.style if voice else GENERIC_STYLE,
            lead=lead if self.settings.prompt.lead else "",
            history=turn.asked.history,
            passage_tokens=self.settings.prompt.passage_tokens,
            history_tokens=self.settings.prompt.history_tokens,
            count=self.engine.count_tokens,
        )
        return replace(turn, prompt=prompt, passages=prompt.passages)

    def _request(self, turn: Turn) -> GenerateRequest:
        """Make the engine's request; `prompt.scope` says with whom its computations may be shared."""
        assert turn.prompt is not None
        sampling = turn.asked.sampling or Sampling(max_tokens=self.settings.prompt.answer_tokens)
        return GenerateRequest(
            messages=turn.prompt.sent,
            adapter=turn.route.adapter,
            queue=turn.route.department or "",
            sampling=sampling,
            public_messages=PUBLIC_MESSAGES,
            scope=scope(turn.permitted, turn.asked.user, turn.asked.history),
        )

    def _finish(self, turn: Turn, outcome: Outcome, released: str) -> Answer:
        turn = turn.decided(*outcome.decisions)
        if block := turn.block:
            return self._close(turn, "abstained", block.text)
        return self._close(turn, "answered", released + outcome.text, outcome)

    def _refuse(self, turn: Turn, block: Decision) -> Answer:
        """Close a question without generation. Passages found are recorded, never returned."""
        status: Status = "denied" if block.action == "deny" else "abstained"
        return self._close(turn, status, block.text)

    def _close(self, turn: Turn, status: Status, text: str, outcome: Outcome | None = None) -> Answer:
        citations = outcome.citations if outcome else ()
        receipt = self.recorder.closed(
            turn.id,
            turn.asked,
            route=turn.route,
            status=status,
            text=text,
            passages=turn.passages,
            citations=citations,
            decisions=turn.decisions,
            usage=turn.usage,
            embedder=turn.search.embedder,
        )
        return Answer(
            text=text,
            status=status,
            citations=citations,
            route=turn.route,
            receipt=receipt,
            decisions=turn.decisions,
            passages=turn.passages if status == "answered" else (),
            prompt_tokens=turn.usage.prompt_tokens,
            completion_tokens=turn.usage.completion_tokens,
            cut=turn.usage.finish == "length",
        )


def _checked(asked: Question, settings: Settings) -> Question:
    """Refuse what cannot be a question before any work is done."""
    if not asked.text.strip():
        raise BadRequest("The question is empty.", remedy="Ask something.")
    if len(asked.text) > MAX_QUESTION_CHARACTERS:
        raise TooLarge(
            f"The question has {len(asked.text):,} characters; {MAX_QUESTION_CHARACTERS:,} are allowed.",
            remedy="Shorten it, or ingest the text as a document.",
        )
    try:
        "".join((asked.text, *(turn.content for turn in asked.history))).encode()
    except UnicodeEncodeError:
        raise BadRequest("The question is not valid Unicode text.", remedy="Send it as UTF-8.") from None
    if asked.sampling:
        check(asked.sampling)
    return asked


def _standalone(asked: Question) -> str:
    """Give a follow-up what it leans on, so that it can be searched."""
    return standalone(asked.text, [turn.content for turn in asked.history if turn.role == "user"])
