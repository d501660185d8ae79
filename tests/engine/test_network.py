"""Plans against transformers' own forward, over architectures: tiny random models of each."""

from functools import partial

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Qwen2Config,
    Qwen3Config,
)

from assistant.engine.kernels import Kernels, kernels
from assistant.engine.model import Model
from assistant.engine.network import Network
from assistant.engine.plain import PlainNetwork
from assistant.engine.plan import Span
from assistant.errors import ModelError

COMMON = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
CONFIGS = {
    "llama": (LlamaConfig(**COMMON), Network, True),
    "llama-bias": (LlamaConfig(**COMMON, attention_bias=True, mlp_bias=True), Network, True),
    "llama-wide-heads": (LlamaConfig(**COMMON, head_dim=32), Network, True),
    "llama-one-head": (LlamaConfig(**{**COMMON, "num_key_value_heads": 4}), Network, True),
    "qwen2": (Qwen2Config(**COMMON), Network, True),
    "qwen3": (Qwen3Config(**COMMON, head_dim=64), Network, True),
    "mistral": (MistralConfig(**COMMON, sliding_window=None), Network, True),
    "mistral-window": (MistralConfig(**COMMON, sliding_window=16), PlainNetwork, False),
    "granite": (GraniteConfig(**COMMON, residual_multiplier=0.5, attention_multiplier=0.1), None, False),
    "olmo2-wide-heads": (Olmo2Config(**{**COMMON, "hidden_size": 128}), Network, False),
    "gemma2": (Gemma2Config(**COMMON, head_dim=8, sliding_window=16), PlainNetwork, False),
    "gpt2-wide-heads": (GPT2Config(vocab_size=128, n_embd=128, n_head=4, n_layer=3), Network, False),
    "gpt2": (GPT2Config(vocab_size=128, n_embd=32, n_layer=3, n_head=4, n_positions=512), None, False),
}
TRAINED_IN_BFLOAT16 = {"llama-bias", "llama-wide-heads", "qwen2"}
"""Rows of a few requests read their weights in bfloat16, and lose nothing."""


@pytest.fixture(scope="module", params=CONFIGS)
def loaded(request, tmp_path_factory):
    config, kind, fused = CONFIGS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    reference = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in reference.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
        if request.param in TRAINED_IN_BFLOAT16:
            parameter.data = parameter.data.bfloat16().float()
    reference.save_pretrained(folder)
    model, _ = Model.load(
        folder, dtype="float32", device="cpu", prepack="auto", slots=2, cache_bytes=1 << 22, batch_size=8
    )
    assert kind is None or type(model.networks[0]) is kind
    assert model.networks[0].fused is fused
    return reference, model


def tokens(seed, count):
    return torch.randint(128, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def wanted(reference, sequence):
    with torch.inference_mode():
        return reference(input_ids=torch.tensor([sequence])).logits[0]


def test_packed_pieces_and_steps_give_what_one_forward_gives(loaded):
    """Four requests of different lengths join one after another, in pieces, while the others decode."""
    reference, model = loaded
    prompts = [tokens(n, length) for n, length in enumerate((40, 7, 90, 1))]
    continued = [tokens(10 + n, 12) for n in range(4)]
    whole = [prompt + more for prompt, more in zip(prompts, continued, strict=True)]
    expected = [wanted(reference, sequence) for sequence in whole]
    lanes = [model.take(len(sequence)) for sequence in whole]
    done = [0, 0, 0, 0]
    for step in range(16):
        spans, numbers = [], []
        for number in range(4):
            left = len(prompts[number]) - done[number]
            count = min(left, 33) if left > 1 else 1
            if step >= number and done[number] + count <= len(whole[number]):
                piece = whole[number][done[number] : done[number] + count]
                spans.append(Span(lane=lanes[number], start=done[number], tokens=piece, keep=count))
                numbers.append(number)
                done[number] += count
        logits = model.run(spans)
        for place, number in enumerate(numbers):
            mine = [row for row, owner in enumerate(logits.owners) if owner == place]
            span = spans[place]
            torch.testing.assert_close(
                logits.rows[mine], expected[number][span.start : span.stop], atol=2e-4, rtol=1e-3
            )
    assert sum(done) > 120
    for lane in lanes:
        model.give_back(lane)


def test_pieces_without_logits(loaded):
    reference, model = loaded
    sequence = tokens(5, 30)
    lane = model.take(30)
    assert len(model.run([Span(lane=lane, start=0, tokens=sequence[:20], keep=0)]).rows) == 0
    logits = model.run([Span(lane=lane, start=20, tokens=sequence[20:], keep=1)])
    torch.testing.assert_close(logits.rows[0], wanted(reference, sequence)[-1], atol=2e-4, rtol=1e-3)
    model.give_back(lane)


def test_what_an_earlier_request_left_in_a_lane_is_not_seen(loaded):
    reference, model = loaded
    for seed in (1, 2):
        lane = model.take(60)
        sequence = tokens(seed, 50 if seed == 1 else 9)
        rows = model.run([Span(lane=lane, start=0, tokens=sequence)]).rows
        torch.testing.assert_close(rows[0], wanted(reference, sequence)[-1], atol=2e-4, rtol=1e-3)
        rows = model.run([Span(lane=lane, start=len(sequence), tokens=[3])]).rows
        torch.testing.assert_close(rows[0], wanted(reference, [*sequence, 3])[-1], atol=2e-4, rtol=1e-3)
        model.give_back(lane)


@pytest.mark.skipif(kernels(torch.float32) is None, reason="there is no C compiler here")
def test_kernels_that_do_not_fit_a_model_are_left_out(tmp_path, monkeypatch, caplog):
    """PyTorch's operators take their place; the path for strange models would serve one request at a time."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(LlamaConfig(**COMMON, head_dim=32)).save_pretrained(tmp_path)
    load = partial(
        Model.load, tmp_path, dtype="float32", device="cpu", prepack="auto", slots=2, cache_bytes=1 << 22
    )
    assert load(batch_size=1)[0].compiled and not caplog.text
    monkeypatch.setattr(Kernels, "norm", lambda _, x, *__: x)
    model, _ = load(batch_size=1)
    assert type(model.networks[0]) is Network and model.networks[0].fused
    assert not model.compiled
    assert "do not fit this model" in caplog.text


@pytest.mark.skipif(kernels(torch.float32) is None, reason="there is no C compiler here")
@pytest.mark.parametrize(("free", "narrow"), [(1 << 30, True), (1 << 10, False)])
def test_weights_are_kept_twice_where_there_is_memory(tmp_path, monkeypatch, free, narrow):
    model = AutoModelForCausalLM.from_config(LlamaConfig(**COMMON, head_dim=32), dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    monkeypatch.setattr("assistant.engine.model._free_bytes", lambda _: free)
    model, _ = Model.load(
        tmp_path, dtype="float32", device="cpu", prepack="auto", slots=1, cache_bytes=1 << 20, batch_size=1
    )
    assert model.narrow is narrow


def test_a_damaged_folder_is_named(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        Model.load(
            tmp_path, dtype="float32", device="cpu", prepack="auto", slots=1, cache_bytes=1, batch_size=1
        )


def test_two_copies_in_two_dtypes_share_one_cache(tmp_path):
    """Prompts in fp32, decoding in bf16: what the one wrote, the other reads."""
    torch.manual_seed(0)
    reference = AutoModelForCausalLM.from_config(LlamaConfig(**COMMON), dtype=torch.float32).eval()
    reference.save_pretrained(tmp_path)
    copies = [
        Network(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype), packed=False, slots=1)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    model = Model(*copies, config=reference.config, cache_bytes=1 << 20, batch_size=2)
    assert model.networks == (copies[1], copies[0])
    assert model.cache.shape.dtype == torch.bfloat16
    sequence = tokens(3, 80)
    lane = model.take(82)
    first = model.run([Span(lane=lane, start=0, tokens=sequence)]).rows[0]
    second = model.run([Span(lane=lane, start=80, tokens=[5])]).rows[0]
    assert (first.dtype, second.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(first, wanted(reference, sequence)[-1], atol=2e-4, rtol=1e-3)
    expected = wanted(reference, [*sequence, 5])[-1]
    assert (second.float() - expected).abs().mean() < 0.05 * expected.abs().mean()
