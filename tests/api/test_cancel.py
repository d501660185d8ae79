"""A client that goes away: generation stops within a step, and the answer is closed as interrupted."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from assistant.api.limits import ClientGone, while_connected

ASK = {"messages": [{"role": "user", "content": "How long is parental leave?"}]}


def closed(service):
    """The latest answer's entries, once it is closed."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        latest = service.app.log.entries(limit=1)
        if latest and latest[0].kind == "answer.closed":
            return service.entries(latest[0].id)
        time.sleep(0.02)
    raise AssertionError("the answer was not closed")


def check_interrupted(service, engine, said):
    assert engine.stopped.wait(10), "generation goes on"
    steps = engine.steps
    opened, last = closed(service)
    time.sleep(0.1)
    assert engine.steps == steps
    assert (opened.kind, last.kind, last.status) == ("question.opened", "answer.closed", "interrupted")
    assert service.app.log.body(last).answer.strip() == said
    assert service.app.verify().problems == ()
    with service.client() as client:
        assert client.get("/readyz").status_code == 200


def test_a_stream_whose_client_leaves(served, engines):
    engine = engines.endless()
    service = served(engine)
    with service.client(service.key("ana")) as client:
        with client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as response:
            lines = response.iter_lines()
            while "18 weeks" not in next(lines):
                pass
    check_interrupted(service, engine, "Parental leave lasts 18 weeks and is paid in full [1].")


def left_waiting(service, engine, path, body):
    """Ask, wait until generation runs, and leave without having read anything."""

    async def leave():
        headers = {"Authorization": f"Bearer {service.key('ana')}"}
        async with httpx.AsyncClient(base_url=service.url, headers=headers, verify=False) as client:
            asking = asyncio.create_task(client.post(path, json=body))
            await asyncio.to_thread(engine.started.wait, 10)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(leave())


def test_a_stream_whose_client_leaves_before_the_first_text(served, engines):
    engine = engines.endless(sentence="")
    service = served(engine)
    left_waiting(service, engine, "/v1/chat/completions", {**ASK, "stream": True})
    check_interrupted(service, engine, "")


def test_a_completion_whose_client_leaves(served, engines):
    engine = engines.endless()
    service = served(engine)
    left_waiting(service, engine, "/v1/chat/completions", ASK)
    check_interrupted(service, engine, "Parental leave lasts 18 weeks and is paid in full [1].")


def test_an_answer_whose_client_leaves(served, engines):
    engine = engines.endless()
    service = served(engine)
    left_waiting(service, engine, "/v1/answers", {"question": "How long is parental leave?"})
    check_interrupted(service, engine, "Parental leave lasts 18 weeks and is paid in full [1].")


def test_one_client_leaving_does_not_stop_another(served, engines):
    engine = engines.endless()
    service = served(engine)
    with service.client(service.key("ana")) as first, service.client(service.key("grete")) as second:
        with second.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as stays:
            lines = stays.iter_lines()  # held: httpx hangs up when an iterator of lines is let go
            next(lines)
            with first.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as leaves:
                next(leaves.iter_lines())
            assert engine.stopped.wait(10)
            before, deadline = engine.steps, time.monotonic() + 10
            while engine.steps == before and time.monotonic() < deadline:
                time.sleep(0.02)
            assert engine.steps > before
    closed(service)


class Gone:
    """A request whose client leaves at once, or never."""

    def __init__(self, leaves):
        self.leaves = leaves

    async def receive(self):
        if not self.leaves:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}


def test_while_connected_gives_the_result_or_the_error_of_the_work():
    async def work(fail):
        await asyncio.sleep(0)
        if fail:
            raise ValueError("wrong")
        return 7

    assert asyncio.run(while_connected(Gone(leaves=False), work(False))) == 7
    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(while_connected(Gone(leaves=False), work(True)))


def test_while_connected_waits_until_the_work_has_cleaned_up():
    cleaned = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    with pytest.raises(ClientGone):
        asyncio.run(while_connected(Gone(leaves=True), work()))
    assert cleaned == [True]
