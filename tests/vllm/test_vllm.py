"""The HTTP engine against a real vLLM server with real adapters."""

import asyncio
import json
import shutil
from contextlib import aclosing

import httpx
import pytest

from assistant.errors import EngineError
from assistant.testing.engine_contract import MESSAGES, EngineContract, Subject, collect, request, text_of


class TestVllm(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, connect, versions):
        return Subject(engine=connect(), versions=versions, another=connect)

    def test_log_probabilities_agree_with_scores(self, subject, run):
        for adapter in (None, *(version.digest for version in subject.versions)):
            if adapter:
                run(subject.engine.load(next(v for v in subject.versions if v.digest == adapter)))
            deltas = run(collect(subject.engine, request(adapter=adapter, logprobs=0)))
            given = [one.logprob for delta in deltas for one in delta.logprobs]
            scores = run(subject.engine.score(MESSAGES, text_of(deltas), adapter))
            assert scores == pytest.approx(given[: len(scores)], abs=1e-3)  # without the end of the turn

    def test_a_closed_iterator_frees_the_server(self, subject, run, server):
        async def leave():
            async with aclosing(subject.engine.generate(request(max_tokens=1000))) as deltas:
                await anext(deltas)
            for _ in range(100):
                if not server.metric("vllm:num_requests_running"):
                    return True
                await asyncio.sleep(0.1)
            return False

        assert run(leave())


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT asks transformers
def test_scores_agree_with_peft(connect, run, versions, model):
    """vLLM's outputs differ from PEFT's now and then (vllm #10798): here they may not."""
    completion = " Parental leave lasts 18 weeks and is paid."
    engine = connect()
    for version in versions:
        run(engine.load(version))
        served = run(engine.score(MESSAGES, completion, version.digest))
        assert served == pytest.approx(peft_scores(model, version, completion), abs=2e-3)
        assert served != pytest.approx(run(engine.score(MESSAGES, completion)), abs=2e-3)


def peft_scores(model, version, completion):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from assistant.engine.chat import ChatTokenizer

    tokenizer = ChatTokenizer(model)
    prompt, tokens = tokenizer.prompt(MESSAGES), tokenizer.encode(completion)
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(plain, version.path).eval()
    with torch.inference_mode():
        logits = adapted(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"lora_bias": True},
        {"alora_invocation_tokens": [1]},
        {"use_bdlora": {"nblocks": 2}},
        {"use_qalora": True},
        {"layer_replication": [[0, 4]]},
        {"modules_to_save": ["lm_head"]},
        {"bias": "all"},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"init_lora_weights": "corda"},
        {"init_lora_weights": "loftq"},
        {"rank_pattern": {"q_proj": 32}},
    ],
    ids=lambda settings: str(next(iter(settings.items()))),
)
def test_the_server_refuses_what_we_refuse(server, versions, tmp_path, settings):
    """Our list is vLLM's own: each of its kinds is refused there too."""
    folder = shutil.copytree(versions[0].path, tmp_path / "altered")
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    asked = {"lora_name": f"refused-{tmp_path.name}", "lora_path": str(folder)}
    answer = httpx.post(f"{server.url}/v1/load_lora_adapter", json=asked, timeout=600)
    assert not answer.is_success, answer.text


def test_a_server_killed_in_mid_answer_comes_back_with_its_adapters(server, connect, run, versions):
    """Nobody does anything but start it again: the engine waits for it and loads what it had."""
    engine, one = connect(reconnect_s=900.0), versions[0]
    run(engine.load(one))
    asked = request(adapter=one.digest)
    before = text_of(run(collect(engine, asked)))

    async def kill_in_mid_answer():
        async with aclosing(engine.generate(request(adapter=one.digest, max_tokens=1000))) as deltas:
            await anext(deltas)
            await asyncio.to_thread(server.kill)
            async for _ in deltas:
                pass

    with pytest.raises(EngineError, match="broke off in the middle of an answer"):
        run(kill_in_mid_answer())
    with pytest.raises(EngineError, match="cannot be reached"):
        run(collect(connect(), request()))
    server.start()
    assert text_of(run(collect(engine, asked))) == before  # asked while it starts
    served = httpx.get(f"{server.url}/v1/models", timeout=60).json()["data"]
    assert one.name in {each["id"] for each in served}
