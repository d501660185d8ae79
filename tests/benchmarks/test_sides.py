"""All sides write the same greedy tokens for the same calls: what is compared is the same work."""

from __future__ import annotations

import stat
import sys
from textwrap import dedent

import pytest
import torch

from assistant.adapters.manifest import read_manifest
from benchmarks.sides import adapters
from benchmarks.sides.adapters import ATTENTION, Shape
from benchmarks.sides.base import Call
from benchmarks.sides.ours import Ours, Outcome, record
from benchmarks.sides.with_peft import Mixed, OneByOne
from benchmarks.sides.with_transformers import Generate, Prefilled, forced
from benchmarks.sides.with_vllm import NoServer, Served, chunk_tokens, interpreter
from benchmarks.sides.workload import contexts, mixed


@pytest.fixture(scope="module")
def calls(bench):
    base = contexts(bench.texts, 4, new_tokens=5, lengths=(8, 20))
    return [Call(tokens=call.tokens, new_tokens=5 - n, adapter=None) for n, call in enumerate(base)]


@pytest.fixture(scope="module")
def versions(bench, tmp_path_factory):
    shapes = [
        Shape(rank=4),
        Shape(rank=2, targets=ATTENTION, rslora=True),
        Shape(rank=8, targets=("up_proj",)),
    ]
    return adapters.write(bench.folder, tmp_path_factory.mktemp("adapters"), shapes)


def test_adapters_are_what_their_manifest_says(versions):
    for version in versions:
        assert read_manifest(version.path).digest == version.digest
    assert len({version.digest for version in versions}) == 3


def test_base_sides_agree(bench, calls):
    side = Generate(bench.folder, "float32")
    theirs = side.run(calls)
    assert [len(own) for own in theirs.tokens] == [5, 4, 3, 2]
    assert [len(own) for own in theirs.stamps] == [5, 4, 3, 2]
    assert Prefilled(side, calls).run().tokens == theirs.tokens
    with Ours.open(bench.folder, dtype="float32") as ours:
        assert ours.run(calls).tokens == theirs.tokens
        assert ours.run_again(calls).tokens == theirs.tokens
        assert ours.run_again(calls).tokens == theirs.tokens


def test_adapter_sides_agree(bench, calls, versions):
    adapted = [*mixed(calls, 3), calls[0]]
    peft = OneByOne(bench.folder, versions)
    expected = tuple(peft.complete(call).tokens for call in adapted)
    assert len(set(expected)) == len(adapted)
    assert Mixed(bench.folder, versions, "float32").run(adapted).tokens == expected
    with Ours.open(bench.folder, versions, dtype="float32") as ours:
        assert ours.run(adapted).tokens == expected


def test_references_know_margins_and_plain_probabilities(bench, versions):
    peft = OneByOne(bench.folder, versions)
    call = Call(tokens=(40, 50, 60), new_tokens=3, adapter=1)
    reference = peft.complete(call)
    assert len(reference.margins) == 3
    assert min(reference.margins) > 0
    likely = peft.logprobs(call.tokens, reference.tokens, 1)
    other = peft.logprobs(call.tokens, reference.tokens, None)
    assert all(one <= 0 for one in likely)
    assert likely != other


def test_forced_follows_the_given_tokens(bench, calls):
    model = Generate(bench.folder, "float32").model
    tokens = [(7, 8, 9)] * len(calls)
    together = forced(model, calls, tokens)
    for row, call in enumerate(calls):
        ids = torch.tensor([[*call.tokens, 7, 8]])
        with torch.inference_mode():
            plain = model(input_ids=ids).logits[0, -3:].log_softmax(-1)
        torch.testing.assert_close(together[row], plain, atol=1e-4, rtol=1e-4)


def test_a_call_that_ended_early_is_not_recorded():
    with pytest.raises(RuntimeError, match="2 tokens got 1"):
        record([Call(tokens=(1,), new_tokens=2)], [Outcome(stamps=(0.1,), deltas=())])


def test_chunks_of_a_stream_tell_their_tokens():
    line = 'data: {"choices": [{"text": "a", "token_ids": [4, 5]}]}'
    assert chunk_tokens(line) == [4, 5]
    assert chunk_tokens('data: {"choices": []}') == chunk_tokens("data: [DONE]") == chunk_tokens("") == []


def test_without_vllm_there_is_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_PYTHON", str(tmp_path / "gone"))
    with pytest.raises(NoServer, match="no vLLM here"):
        interpreter()


def test_a_server_that_does_not_start_says_why(tmp_path, monkeypatch, bench):
    _interpreter(
        tmp_path, "print('INFO all is well'); print('ValueError: no such dtype'); raise SystemExit(1)"
    )
    monkeypatch.setenv("VLLM_PYTHON", str(tmp_path / "python"))
    with pytest.raises(NoServer, match="ValueError: no such dtype"):
        Served(bench.folder, bench.versions, "bfloat16", log=tmp_path / "log")


def test_a_served_side_reads_its_stream(tmp_path, monkeypatch, bench):
    _interpreter(tmp_path, _SERVER)
    monkeypatch.setenv("VLLM_PYTHON", str(tmp_path / "python"))
    calls = [Call(tokens=(1, 2), new_tokens=3, adapter=n) for n in (None, 4)]
    with Served(bench.folder, bench.versions, "float32", log=tmp_path / "log") as server:
        record = server.run(calls)
        assert record.tokens == ((1, 2, 99), (1, 2, 4))
        assert all(len(own) == 3 and own[-1] > own[0] > 0 for own in record.stamps)
        assert server.run(calls).tokens == record.tokens  # stopped in between, and awake again


_SERVER = """
    import json, sys, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()
            model = 99 if asked["model"] == "base" else int(asked["model"])
            for token in [*asked["prompt"], model][: asked["max_tokens"]]:
                chunk = {"choices": [{"text": "x", "token_ids": [token]}]}
                self.wfile.write(f"data: {json.dumps(chunk)}\\n\\n".encode())
                self.wfile.flush()
                time.sleep(0.01)
            self.wfile.write(b"data: [DONE]\\n\\n")

    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def _interpreter(folder, script):
    """Put a program where the environment's Python is looked for."""
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\n{dedent(script)}", encoding="utf-8")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
