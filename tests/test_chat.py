from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from assistant.engine.base import Delta
from assistant.errors import AuditError, BadRequest, EngineError, TooLarge, Unknown
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine
from assistant.testing.workspace import STYLES, add, workspace, write_adapter
from assistant.turn import Closed, Opened, Text
from assistant.types import Labels, Message, Question, Sampling

LEAVE = "How long is parental leave?"
BANDS = "What is the salary band of a senior engineer?"
DEPLOY = "Which error code does the service return when the probe is silent?"
SAID = "Parental leave lasts 18 weeks and is paid in full [1]."


class Recorded(FakeEngine):
    """The fake engine, remembering its requests."""

    def __init__(self, **options):
        super().__init__(**options)
        self.requests = []

    async def generate(self, request):
        self.requests.append(request)
        async for delta in super().generate(request):
            yield delta


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return workspace(tmp_path_factory.mktemp("chat") / "workspace", engine=Recorded())


def question(app, text, user="ana", **more):
    return Question(text=text, user=app.people.user(user), **more)


def answer(app, text, user="ana", **more):
    return asyncio.run(app.chat.answer(question(app, text, user, **more)))


def events(app, text, user="ana", **more):
    async def collect():
        return [event async for event in app.chat.stream(question(app, text, user, **more))]

    return asyncio.run(collect())


def test_an_answered_question_leaves_an_opening_and_a_closing_entry(app):
    said = answer(app, LEAVE)
    assert said.status == "answered" and SAID in said.text
    opened, closed = app.log.of(said.receipt.id)
    assert (opened.kind, opened.status, closed.kind, closed.status) == (
        "question.opened",
        None,
        "answer.closed",
        "answered",
    )
    assert opened.route == closed.route and closed.route.adapter == said.route.adapter
    assert [p.cited for p in closed.passages] == [True] + [False] * (len(closed.passages) - 1)
    assert [p.uri for p in closed.passages] == [p.document.uri for p in said.passages]
    assert closed.attributes["gen_ai.usage.output_tokens"] == said.completion_tokens > 0
    assert app.log.body(opened).prompt == tuple((m.role, m.content) for m in app.engine.requests[-1].messages)
    assert app.log.body(closed).answer == said.text
    assert LEAVE not in closed.model_dump_json() and "18 weeks" not in closed.model_dump_json()


def test_an_abstained_question_leaves_one(app):
    asked = len(app.engine.requests)
    said = answer(app, BANDS)
    assert said.status == "abstained" and said.citations == () and said.passages == ()
    (entry,) = app.log.of(said.receipt.id)
    assert (entry.kind, entry.status) == ("answer.closed", "abstained")
    assert entry.decisions[0].rule == "enough-evidence"
    assert len(app.engine.requests) == asked, "a question without evidence is not generated"


def test_a_denied_question_leaves_one_and_is_not_searched(app):
    said = answer(app, "Can you give me medical advice about parental leave?")
    assert said.status == "denied" and "medical" in said.text
    (entry,) = app.log.of(said.receipt.id)
    assert (entry.kind, entry.status, entry.passages) == ("answer.closed", "denied", ())


@pytest.mark.parametrize("text", [LEAVE, BANDS, DEPLOY, "Can you give me medical advice?"])
def test_stream_and_answer_give_the_same(app, text):
    whole = answer(app, text)
    seen = events(app, text)
    assert isinstance(seen[0], Opened) and isinstance(seen[-1], Closed)
    assert all(isinstance(event, Text) for event in seen[1:-1])
    streamed = seen[-1].answer
    assert "".join(event.text for event in seen[1:-1]) == streamed.text == whole.text
    assert (streamed.status, streamed.citations, streamed.route) == (
        whole.status,
        whole.citations,
        whole.route,
    )
    assert seen[0].id == streamed.receipt.id


def test_the_last_text_leaves_after_the_closing_entry(app):
    async def check():
        released = ""
        async for event in app.chat.stream(question(app, LEAVE)):
            if isinstance(event, Opened):
                id = event.id
            if isinstance(event, Text):
                kinds = [entry.kind for entry in app.log.of(id)]
                assert kinds[0] == "question.opened"
                released += event.text
                if "18 weeks" in released:
                    assert kinds[-1] == "answer.closed"

    asyncio.run(check())


class Full:
    """A log whose disk is full from the given append on."""

    def __init__(self, log, after):
        self._log, self._left = log, after

    def append(self, draft, body=None):
        self._left -= 1
        if self._left < 0:
            raise AuditError("The disk is full.")
        return self._log.append(draft, body)


def over(app, **parts):
    """The pipeline of `app` with parts exchanged."""
    from dataclasses import replace

    from assistant.record import Recorder

    if log := parts.pop("log", None):
        parts["recorder"] = Recorder(log, model="fake", fingerprint=app.engine.fingerprint)
    return replace(app.chat, **parts)


@pytest.mark.parametrize(("text", "after"), [(LEAVE, 0), (BANDS, 0), ("Give me medical advice.", 0)])
def test_no_entry_no_text(app, text, after):
    chat = over(app, log=Full(app.log, after))

    async def collect():
        released = []
        with pytest.raises(AuditError):
            async for event in chat.stream(question(app, text)):
                released.append(event)
        return released

    assert asyncio.run(collect()) == []
    with pytest.raises(AuditError):
        asyncio.run(chat.answer(question(app, text)))


def test_without_a_closing_entry_the_last_sentence_stays(app):
    chat = over(app, log=Full(app.log, 1))
    released = ""

    async def collect():
        nonlocal released
        async for event in chat.stream(question(app, LEAVE)):
            assert not isinstance(event, Closed)
            if isinstance(event, Text):
                released += event.text

    with pytest.raises(AuditError):
        asyncio.run(collect())
    assert "18 weeks" not in released


def test_leaving_a_stream_stops_generation_and_closes_the_answer(app):
    class Endless(FakeEngine):
        steps, stopped = 0, False

        async def generate(self, request):
            try:
                yield Delta(text=f"{SAID} Further ")
                while self.steps < 5_000:
                    self.steps += 1
                    yield Delta(text="and ")
            finally:
                self.stopped = True

    engine = Endless()
    chat = over(app, engine=engine)

    async def leave():
        stream = chat.stream(question(app, LEAVE))
        async for event in stream:
            if isinstance(event, Opened):
                id = event.id
            if isinstance(event, Text):
                break
        before = engine.steps
        await stream.aclose()
        assert engine.stopped and engine.steps == before
        return id

    opened, closed = app.log.of(asyncio.run(leave()))
    assert closed.status == "interrupted" and app.log.body(closed).answer.strip() == SAID


def test_leaving_before_the_first_text_closes_the_answer(app):
    async def leave():
        stream = app.chat.stream(question(app, LEAVE))
        event = await anext(stream)
        await stream.aclose()
        return event.id

    assert [entry.status for entry in app.log.of(asyncio.run(leave()))] == [None, "interrupted"]


def test_a_cancelled_question_is_interrupted(app):
    started = asyncio.Event

    class Slow(FakeEngine):
        async def generate(self, request):
            started.set()
            await asyncio.sleep(60)
            yield Delta(text="never")

    async def cancel():
        nonlocal started
        started = asyncio.Event()
        task = asyncio.create_task(over(app, engine=Slow()).answer(question(app, LEAVE)))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert app.log.entries(limit=1)[0].status == "interrupted"


def test_an_engine_that_breaks_is_an_interrupted_answer(app):
    class Broken(FakeEngine):
        async def generate(self, request):
            yield Delta(text=f"{SAID} Annual ")
            raise EngineError("broken")

    with pytest.raises(EngineError):
        asyncio.run(over(app, engine=Broken()).answer(question(app, LEAVE)))
    entry = app.log.entries(limit=1)[0]
    assert entry.status == "interrupted" and "18 weeks" in app.log.body(entry).answer


def test_text_that_no_passage_supports_does_not_leave(app):
    class Liar(FakeEngine):
        async def generate(self, request):
            yield Delta(text="Parental leave lasts 52 weeks [1]. ")
            yield Delta(text="Everyone gets EUR 90,000 [1].", finish="stop")

    chat = over(app, engine=Liar())
    said = asyncio.run(chat.answer(question(app, LEAVE)))
    assert said.status == "abstained" and "52" not in said.text and "90,000" not in said.text
    assert [e.status for e in app.log.of(said.receipt.id)] == [None, "abstained"]


def test_the_routers_department_and_its_adapter(app):
    for text, user, department in ((LEAVE, "ana", "hr"), (DEPLOY, "bjorn", "engineering")):
        said = answer(app, text, user)
        request = app.engine.requests[-1]
        assert said.route.department == department == request.queue
        assert said.route.adapter == request.adapter == app.adapters.resolve(department).digest
        assert STYLES[department] in request.messages[0].content
        assert department in said.text.split("\n")[0], "the voice of the department's adapter"


def test_an_explicit_department(app):
    said = answer(app, LEAVE, department="legal")
    assert said.route.department == "legal" and said.route.reason == "chosen by the caller"
    assert "This is guidance" in said.text
    assert app.engine.requests[-1].adapter == app.adapters.resolve("legal").digest


def test_an_explicit_department_that_is_not_permitted_is_denied(app):
    asked = len(app.engine.requests)
    said = answer(app, LEAVE, "kim", department="hr")
    assert said.status == "denied" and said.citations == () and "18" not in said.text
    (entry,) = app.log.of(said.receipt.id)
    assert entry.decisions[0].action == "deny"
    assert len(app.engine.requests) == asked


def test_a_routed_department_that_is_not_permitted_means_the_base_model(app):
    said = answer(app, LEAVE, "kim")
    assert said.status == "answered" and said.text == SAID
    assert said.route.department is None and app.engine.requests[-1].adapter is None
    assert "not open to this user" in said.route.reason


def test_an_unknown_department(app):
    with pytest.raises(Unknown, match="sales"):
        answer(app, LEAVE, department="sales")


def test_a_department_without_an_adapter_speaks_with_the_base_model(tmp_path):
    own = workspace(tmp_path / "workspace", engine=Recorded())
    (own.settings.path(own.settings.adapters) / "hr" / "aliases.yaml").unlink()
    said = answer(own, LEAVE)
    assert said.status == "answered" and said.route.department == "hr" and said.route.adapter is None
    assert own.engine.requests[-1].adapter is None


def test_an_adapter_of_another_base_is_an_error_not_another_voice(tmp_path):
    from assistant.errors import AdapterError

    own = workspace(tmp_path / "workspace")
    other = FakeEngine(base_digest="ab" * 32)
    write_adapter(own.settings.path(own.settings.adapters) / "hr", "hr", other)
    with pytest.raises(AdapterError, match="base"):
        answer(own, LEAVE)


def test_a_follow_up_is_searched_with_the_question_it_follows(app):
    history = (Message(role="user", content=LEAVE), Message(role="assistant", content="18 weeks."))
    said = answer(app, "And how long for both?", history=history)
    assert said.status == "answered" and said.citations[0].uri == "hr/leave.md"
    assert [m.content for m in app.engine.requests[-1].messages[1:3]] == [LEAVE, "18 weeks."]
    assert answer(app, "And how long for both?").status == "abstained"


def test_sampling_is_passed_on_and_recorded(app):
    sampling = Sampling(temperature=0.7, seed=11, max_tokens=40)
    said = answer(app, LEAVE, sampling=sampling)
    assert app.engine.requests[-1].sampling == sampling
    assert app.log.of(said.receipt.id)[0].attributes["gen_ai.request.seed"] == 11
    answer(app, LEAVE)
    assert app.engine.requests[-1].sampling.max_tokens == app.settings.prompt.answer_tokens


def test_two_questions_at_once_keep_apart(app):
    async def both():
        return await asyncio.gather(
            *(
                app.chat.answer(question(app, text, user))
                for text, user in [(LEAVE, "ana"), (BANDS, "grete"), (DEPLOY, "bjorn"), (BANDS, "ana")] * 2
            )
        )

    first = asyncio.run(both())
    assert [a.status for a in first] == ["answered", "answered", "answered", "abstained"] * 2
    assert "18 weeks" in first[0].text and "61,000" in first[1].text and "E-42" in first[2].text
    assert len({a.receipt.id for a in first}) == len({a.receipt.index for a in first}) == 8
    for said, user in zip(first, ["ana", "grete", "bjorn", "ana"] * 2, strict=True):
        assert {entry.user for entry in app.log.of(said.receipt.id)} == {user}
    assert app.verify().problems == ()


def test_the_event_loop_stays_free_while_a_question_is_searched(app, monkeypatch):
    main = threading.get_ident()
    searched = []
    original = type(app.search).found

    def search(self, *args, **options):
        searched.append(threading.get_ident())
        return original(self, *args, **options)

    monkeypatch.setattr(type(app.search), "found", search)
    answer(app, LEAVE)
    assert searched and main not in searched


def test_search_router_and_focus_share_one_embedding_of_the_question(app, monkeypatch):
    embedded = []
    embed = FakeEmbedder.embed

    def counted(self, texts, *more):
        embedded.extend(texts)
        return embed(self, texts, *more)

    monkeypatch.setattr(FakeEmbedder, "embed", counted)
    prompt = app.settings.prompt.model_copy(update={"sentences": 1})
    chat = over(app, settings=app.settings.model_copy(update={"prompt": prompt}))
    said = asyncio.run(chat.answer(question(app, "For how many weeks is parental leave?")))
    assert embedded.count("For how many weeks is parental leave?") == 1
    assert said.passages[0].focus, "its sentences were compared too"


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_question(app, text):
    with pytest.raises(BadRequest, match="empty"):
        answer(app, text)


def test_a_question_of_a_megabyte(app):
    with pytest.raises(TooLarge, match="1,000,000"):
        answer(app, "x" * 1_000_000)


def test_half_a_surrogate_pair_is_not_text(app):
    for text, history in (("\ud800?", ()), ("x?", (Message(role="user", content="\udfff"),))):
        with pytest.raises(BadRequest, match="Unicode"):
            answer(app, text, history=history)


def test_a_prompt_over_the_context_is_refused_and_closed(app):
    with pytest.raises(TooLarge):
        answer(app, LEAVE, sampling=Sampling(max_tokens=100_000))
    assert app.log.entries(limit=1)[0].status == "interrupted"


def test_the_log_verifies_after_all_this(app):
    assert app.verify().problems == ()


def test_a_small_model_begins_with_the_sentence_found(app):
    prompt = app.settings.prompt.model_copy(update={"sentences": 1, "lead": True})
    small = replace(app.chat, settings=app.settings.model_copy(update={"prompt": prompt}))
    asked = question(app, LEAVE)

    async def both():
        streamed = [event async for event in small.stream(asked)]
        return streamed, await small.answer(asked)

    streamed, whole = asyncio.run(both())
    assert whole.text.startswith(SAID)
    assert "".join(event.text for event in streamed if isinstance(event, Text)) == whole.text
    assert [p.shown for p in whole.passages] == [whole.citations[0].quote]
    sent = app.engine.requests[-1].messages
    assert sent[-1] == Message(role="assistant", content=SAID)
    opened, _ = app.log.of(whole.receipt.id)
    assert app.log.body(opened).prompt == tuple((m.role, m.content) for m in sent)


def sent(app, text, user="ana", **more):
    """The request that a question made of the engine."""
    app.engine.requests.clear()
    answer(app, text, user, **more)
    (request,) = app.engine.requests
    return request


def test_a_request_waits_in_its_departments_queue(app):
    assert sent(app, LEAVE, department="hr").queue == "hr"
    assert sent(app, LEAVE, department="legal").queue == "legal"


def test_only_the_system_message_is_anybodys(app):
    history = (Message(role="user", content="Is my leave paid?"), Message(role="assistant", content="Yes."))
    plain, other = (
        sent(app, LEAVE, department="hr"),
        sent(app, LEAVE, "grete", department="hr", history=history),
    )
    assert plain.public_messages == other.public_messages == 1
    assert plain.messages[:1] == other.messages[:1]
    (public,) = plain.messages[:1]
    assert STYLES["hr"] in public.content
    assert "paid" not in public.content and "weeks" not in public.content


def test_computations_are_shared_among_those_who_may_read_the_same(app):
    """ana and bjorn's departments differ; grete may read restricted documents too; kim and ana read alike."""
    scopes = {
        user: sent(app, LEAVE, user, department="engineering").scope for user in ("ana", "kim", "dmitri")
    }
    assert len(set(scopes.values())) == 1
    assert sent(app, LEAVE, "grete", department="hr").scope != scopes["ana"]
    assert sent(app, LEAVE, "bjorn", department="hr").scope != scopes["ana"]
    history = (Message(role="user", content="Is parental leave paid?"),)
    talked = {
        user: sent(app, LEAVE, user, department="engineering", history=history).scope for user in scopes
    }
    assert len({*talked.values(), *scopes.values()}) == 4


def test_a_change_of_permissions_is_another_scope(tmp_path):
    app = workspace(tmp_path / "workspace", engine=Recorded())
    before = sent(app, LEAVE).scope
    assert sent(app, LEAVE).scope == before
    labels = Labels(source="other", principals=frozenset({"user:ana"}))
    document = add(app, "new.md", "The canteen opens at noon.", labels)
    granted = sent(app, LEAVE).scope
    app.documents.remove(document.id)
    assert granted != before == sent(app, LEAVE).scope


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=-1.0), Sampling(top_p=0.0), Sampling(min_p=2.0), Sampling(max_tokens=0)],
)
def test_sampling_out_of_range_is_refused_before_any_work(app, sampling):
    asked, entries = len(app.engine.requests), len(app.log.entries())
    with pytest.raises(BadRequest, match="out of range"):
        answer(app, LEAVE, sampling=sampling)
    assert (len(app.engine.requests), len(app.log.entries())) == (asked, entries)
