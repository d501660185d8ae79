"""Adapters on model servers: loaded once, again where they were lost, everywhere where there are several."""

import asyncio
import socket

import pytest
from served import CONTEXT, MODEL, Served, serving

from assistant.config import HttpEngine as HttpSettings
from assistant.engine.http import HttpEngine
from assistant.errors import AdapterError, EngineError, Overloaded, Unsupported
from assistant.testing.engine import FakeEngine
from assistant.testing.engine_contract import MESSAGES, collect, request, text_of


@pytest.fixture
def run():
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def served(base_digest):
    return Served(FakeEngine(base_digest=base_digest))


@pytest.fixture
def url(served):
    with serving(served) as address:
        yield address


@pytest.fixture
def connect(run, url):
    engines = []

    def make(address=url, **changes):
        chosen = HttpSettings(
            kind="http", url=address, model=MODEL, context_tokens=CONTEXT, **{"reconnect_s": 0.0, **changes}
        )
        engines.append(HttpEngine.connect(chosen))
        return engines[-1]

    yield make
    for engine in engines:
        run(engine.close())


def test_adapters_are_loaded_under_their_digest(served, connect, run, versions):
    one = versions[0]
    run(connect().load(one))
    assert served.names == {one.name: one.digest}
    run(connect().load(one))  # another client: already there


def test_a_server_that_lost_its_adapters_gets_them_again(served, connect, run, versions):
    engine, one = connect(), versions[0]
    run(engine.load(one))
    before = text_of(run(collect(engine, request(adapter=one.digest))))
    served.names.clear()  # it was started again
    assert text_of(run(collect(engine, request(adapter=one.digest)))) == before
    assert served.loads == [one.name] * 2
    served.names.clear()
    assert run(engine.score(MESSAGES, "18 weeks", one.digest))
    assert served.loads == [one.name] * 3


def test_an_adapter_that_cannot_come_back_is_an_error(served, connect, run, versions):
    engine, one = connect(), versions[0]
    run(engine.load(one))
    served.names.clear()
    served.engine = FakeEngine(base_digest="0" * 64)  # it was started with another model
    with pytest.raises(AdapterError, match="was not loaded"):
        run(collect(engine, request(adapter=one.digest)))


def test_a_model_name_that_is_wrong_is_not_loaded(served, connect, run):
    engine = connect()
    engine._settings = engine._settings.model_copy(update={"model": "other"})
    with pytest.raises(AdapterError, match="`other` does not exist"):
        run(collect(engine, request()))
    assert not served.loads


def test_a_server_that_does_not_load_says_what_to_do(served, connect, run, versions):
    served.loading = False
    with pytest.raises(Unsupported, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        run(connect().load(versions[0]))
    engine = connect(load_adapters=False)
    run(engine.load(versions[0]))
    with pytest.raises(AdapterError, match="does not exist"):
        run(collect(engine, request(adapter=versions[0].digest)))
    run(engine.unload(versions[0].digest))


def test_an_adapter_that_the_server_refuses_is_not_loaded(served, connect, run, versions):
    served.engine = FakeEngine(base_digest="0" * 64)
    engine = connect()
    with pytest.raises(AdapterError, match="was not loaded.*see .* under this path"):
        run(engine.load(versions[0]))
    with pytest.raises(AdapterError, match="not loaded"):
        run(collect(engine, request(adapter=versions[0].digest)))


@pytest.mark.parametrize(
    ("refusal", "error"),
    [((429, "busy"), Overloaded), ((401, "no key"), EngineError), ((500, "broken"), AdapterError)],
)
def test_a_refusal_keeps_its_kind(served, connect, run, versions, refusal, error):
    served.refuse = refusal
    with pytest.raises(error, match=refusal[1]):
        run(connect().load(versions[0]))


def test_a_rank_over_the_servers_is_refused_before_it_is_sent(served, connect, run, versions):
    with pytest.raises(AdapterError, match=r"rank 2; the server takes 1.*engine\.max_lora_rank"):
        run(connect(max_lora_rank=1).load(versions[0]))
    run(connect(max_lora_rank=1, load_adapters=False).load(versions[0]))  # the server took it by itself
    assert not served.loads


def test_every_replica_gets_an_adapter(served, connect, run, versions, base_digest):
    one, second = versions[0], Served(FakeEngine(base_digest=base_digest))
    with serving(second) as other:
        engine = connect(replicas=(connect()._settings.url, other))
        run(engine.load(one))
        assert served.names == second.names == {one.name: one.digest}
        second.names.clear()
        served.names.clear()  # the one that answers says 404: both get it
        assert text_of(run(collect(engine, request(adapter=one.digest))))
        assert served.names == second.names == {one.name: one.digest}
        run(engine.unload(one.digest))
        assert served.names == second.names == {}


def test_a_replica_that_is_down_holds_nothing_up(served, connect, run, versions):
    with socket.create_server(("127.0.0.1", 0)) as free:
        down = f"http://127.0.0.1:{free.getsockname()[1]}"
    url = connect()._settings.url
    engine, one = connect(replicas=(down, url)), versions[0]
    run(engine.load(one))
    assert text_of(run(collect(engine, request(adapter=one.digest))))
    run(engine.unload(one.digest))
    with pytest.raises(EngineError, match="cannot be reached"):
        run(connect(replicas=(down,)).load(one))


def test_replicas_nobody_named_are_asked_for(served, connect, run, versions):
    engine, one = connect(), versions[0]
    run(engine.load(one))
    served.names = Forgetful()  # each load goes to another server than the next request
    with pytest.raises(AdapterError, match=r"engine\.replicas"):
        run(collect(engine, request(adapter=one.digest)))


class Forgetful(dict):
    def __setitem__(self, name, digest):
        """Nothing is kept."""
