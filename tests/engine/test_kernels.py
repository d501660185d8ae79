"""Compiled kernels against PyTorch's operators, as compiled here and as a smaller CPU would have them."""

import logging
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from assistant.engine import kernels as module
from assistant.engine.fused import rotate, rotated
from assistant.engine.kernels import Kernels, compiled, kernels
from assistant.engine.lanes import Lane
from assistant.engine.mix import Use
from assistant.engine.plan import Compiled, Span, plan
from assistant.engine.product import Product

SOURCES = sorted(module._SOURCES.glob("*.c"))
DTYPES = (torch.float32, torch.bfloat16)
SMALLER = ((), ("-mno-avx512bf16",), ("-mno-avx512f",), ("-mno-avx512f", "-mno-avx2", "-mno-avx"))
"""What the compiler is told to leave out; nothing on a CPU that has none of it."""

pytestmark = pytest.mark.skipif(kernels(torch.float32) is None, reason="there is no C compiler here")


@pytest.fixture(scope="module")
def built():
    """Kernels by dtype and by what is left out, compiled when first asked for."""
    known = {}

    def build(dtype, without):
        if (dtype, without) not in known:
            known[dtype, without] = Kernels(compiled(SOURCES, (*module._FLAGS[dtype], *without)), dtype)
        return known[dtype, without]

    return build


class Weighted(NamedTuple):
    weight: torch.Tensor
    epsilon: float


def close(got, want):
    coarse = got.dtype == torch.bfloat16
    torch.testing.assert_close(
        got.float(), want, atol=0.03 if coarse else 2e-5, rtol=0.02 if coarse else 1e-5
    )


def attention(query, keys, values, tasks, scale):
    """What every row sees, one row and one head after another, in float32."""
    rows, heads, _ = query.shape
    groups = heads // len(keys)
    result = torch.zeros(rows, heads, query.shape[2])
    for first, count, offset, length in tasks:
        for number in range(count):
            stop = offset + length - count + number + 1
            for head in range(heads):
                own = (keys[head // groups, offset:stop], values[head // groups, offset:stop])
                result[first + number, head] = scaled_dot_product_attention(
                    query[first + number, head][None].float(), *(part.float() for part in own), scale=scale
                )[0]
    return result.flatten(1)


@pytest.mark.parametrize("without", SMALLER)
@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
    heads=st.sampled_from([(1, 1), (1, 3), (2, 2), (3, 3), (2, 8)]),
    dim=st.sampled_from([32, 64, 96, 256]),
)
def test_every_row_sees_its_own_tokens_up_to_itself(built, without, data, dtype, heads, dim):
    key_heads, groups = heads
    own = built(dtype, without)
    most = own.block(groups, dim)
    lanes = data.draw(st.lists(st.integers(1, 150), min_size=1, max_size=5))
    tasks, row = [], 0
    for number, length in enumerate(lanes):
        count = data.draw(st.integers(1, min(most, length)))
        tasks.append((row, count, 160 * number, length))
        row += count
    torch.manual_seed(0)
    arena = torch.randn(2, key_heads, 160 * len(lanes), dim).to(dtype)
    arena[:, :, 155::160] = torch.nan  # nobody's
    query = torch.randn(row, key_heads * (groups + 2), dim).to(dtype).narrow(1, 0, key_heads * groups)
    got = own.attend(query, *arena, torch.tensor(tasks), dim**-0.5)
    close(got, attention(query, *arena, tasks, dim**-0.5))


@pytest.mark.parametrize("without", SMALLER)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", [1, 9])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["query", "key", "value"])
def test_what_is_no_number_stays_so(built, without, dtype, queries, bad, where):
    """A broken adapter must not be answered with the mean of what was read: the sampler looks for it."""
    query, arena = torch.ones(queries, 1, 32), torch.ones(2, 1, 40, 32)
    {"query": query[:, 0], "key": arena[0, 0, 3:4], "value": arena[1, 0, 3:4]}[where][:] = bad
    tasks = torch.tensor([[0, queries, 0, 40]])
    got = built(dtype, without).attend(query.to(dtype), *arena.to(dtype), tasks, 1.0)
    ignored = where == "key" and bad == -torch.inf  # a weight of zero
    assert bool(got.isfinite().all()) is ignored
    assert ignored or not got.isfinite().any()


def test_a_gate_keeps_what_is_no_number(built):
    x = torch.ones(1, 64)
    x[0, 3] = x[0, 40] = torch.nan
    assert built(torch.float32, ()).gate(x).isnan().nonzero()[:, 1].tolist() == [3, 8]


def test_a_query_of_another_dtype_is_answered_in_it(built):
    own = built(torch.bfloat16, ())
    arena, query = torch.randn(2, 1, 9, 32).bfloat16(), torch.randn(9, 1, 32)
    got = own.attend(query, *arena, torch.tensor([[0, 9, 0, 9]]), 0.2)
    assert got.dtype == torch.float32
    assert (got - attention(query, *arena, [(0, 9, 0, 9)], 0.2)).abs().max() < 0.05


def test_scores_far_apart_leave_the_largest_alone(built):
    own = built(torch.float32, ())
    keys = torch.zeros(1, 100, 32)
    keys[0, :, 0] = torch.linspace(-1e4, 1e4, 100)
    values = torch.arange(100.0)[None, :, None].expand(-1, -1, 32).contiguous()
    query = torch.ones(2, 1, 32)
    tasks = torch.tensor([[0, 1, 0, 100], [1, 1, 0, 40]])
    close(own.attend(query, keys, values, tasks, 1.0)[:, 0], torch.tensor([99.0, 39.0]))


def test_heads_that_do_not_fit_the_vectors_are_left_to_pytorch():
    own = kernels(torch.float32)
    assert own.block(3, 64) == own._queries // 3
    assert own.block(1, 40) is own.block(1, 512) is own.block(own._queries + 1, 64) is None


@pytest.mark.parametrize("without", SMALLER)
@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
    inputs=st.sampled_from([5, 32, 50, 96]),
    outs=st.lists(st.sampled_from([3, 16, 128, 150, 300]), min_size=1, max_size=3),
    room=st.sampled_from([2, 4, 10, 16]),
)
def test_groups_of_rows_get_their_own_adapter(built, without, data, dtype, inputs, outs, room):
    torch.manual_seed(0)
    slots, parts, ends = 4, len(outs), torch.tensor([0, *outs]).cumsum(0)
    a = torch.randn(slots, parts, room, inputs).div(inputs**0.5)
    b = torch.randn(slots, parts, room, sum(outs))
    ranks = [data.draw(st.integers(1, room + 3)) for _ in range(slots)]
    for slot, rank in enumerate(ranks):
        a[slot, :, rank:], b[slot, :, rank:] = 0, 0
    a, b = a.to(dtype), b.to(dtype)
    groups, row = [], data.draw(st.integers(0, 2))
    for slot in data.draw(st.permutations(range(slots)))[: data.draw(st.integers(1, slots))]:
        groups.append((row, data.draw(st.integers(1, 9)), slot, ranks[slot]))
        row += groups[-1][1]
    x, y = torch.randn(row + 1, inputs).to(dtype), torch.randn(row + 1, sum(outs)).to(dtype)
    want = y.float()
    for first, count, slot, _ in groups:
        own = slice(first, first + count)
        for part in range(parts):
            columns = slice(ends[part], ends[part + 1])
            hidden = x[own].float() @ a[slot, part].float().T
            want[own, columns] += hidden @ b[slot, part, :, columns].float()
    built(dtype, without).add(x, y, a, b, ends, torch.tensor(groups))
    if dtype == torch.bfloat16:  # what goes between the two products is rounded too
        assert (y.float() - want).abs().max() < 0.03 * want.abs().max()
    else:
        close(y, want)


@pytest.mark.parametrize("without", SMALLER)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "size"), [(1, 3), (9, 32), (40, 50), (3, 576)])
def test_norms_and_gates(built, without, dtype, rows, size):
    torch.manual_seed(0)
    own = built(dtype, without)
    x = torch.randn(rows, 2 * size).mul(3).to(dtype)
    weight, part = torch.randn(size).to(dtype), x[:, :size]
    close(own.norm(part, weight, 1e-5), rms_norm(part.float(), (size,), weight.float(), 1e-5))
    close(own.gate(x), silu(part.float()) * x[:, size:].float())


def test_gates_far_from_zero(built):
    x = torch.tensor([[-200.0, -88.0, 0.0, 88.0, 200.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    close(built(torch.float32, ()).gate(x), silu(x[:, :5]))


@pytest.mark.parametrize("without", SMALLER)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(("rows", "queries", "keys", "dim"), [(1, 2, 1, 32), (20, 6, 2, 64), (9, 1, 1, 96)])
def test_heads_are_turned_and_remembered(built, without, dtype, normed, rows, queries, keys, dim):
    torch.manual_seed(0)
    projected = torch.randn(rows, queries + 2 * keys, dim).to(dtype)
    angles = torch.randn(1, rows, dim // 2).repeat(1, 1, 2)
    rotation = rotated(angles.cos().to(dtype), angles.sin().to(dtype))
    norms = [Weighted(torch.randn(dim).to(dtype), 1e-5) for _ in range(2)] if normed else []
    arena, writes = torch.zeros(2, keys, 3 * rows, dim, dtype=dtype), 3 * torch.randperm(rows)
    turned = projected[:, : queries + keys].float()
    if normed:
        own = turned.split([queries, keys], 1)
        turned = torch.cat(
            [rms_norm(part, (dim,), n.weight.float(), 1e-5) for part, n in zip(own, norms, strict=True)], 1
        )
    turned = rotate(turned, tuple(part.float() for part in rotation))
    got = built(dtype, without).remember(projected, rotation, norms, *arena, writes)
    close(got, turned[:, :queries])
    close(arena[0, :, writes], turned[:, queries:].transpose(0, 1))
    assert torch.equal(arena[1, :, writes], projected[:, queries + keys :].transpose(0, 1))
    assert not arena[:, :, 1::3].any() and not arena[:, :, 2::3].any()


@pytest.mark.parametrize("without", [case for case in SMALLER if case != ("-mno-avx512bf16",)])
@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4),
    size=st.sampled_from([1, 7, 64, 200]),
    outs=st.integers(1, 11),
    biased=st.booleans(),
    added=st.booleans(),
)
def test_a_few_rows_with_weights_in_bfloat16(built, without, rows, size, outs, biased, added):
    torch.manual_seed(0)
    x, more = torch.randn(rows, 2 * size)[:, :size], torch.randn(rows, 2 * outs)[:, :outs] if added else None
    weight, bias = torch.randn(outs, size).bfloat16(), torch.randn(outs) if biased else None
    wanted = torch.nn.functional.linear(x, weight.float(), bias)
    close(built(torch.float32, without).few(x, weight, bias, more), wanted if more is None else wanted + more)
    apart = x.T.contiguous().T
    close(built(torch.float32, without).few(apart, weight, None, None), x @ weight.float().T)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_a_product_of_few_rows_is_that_of_many(built, packed, rows):
    torch.manual_seed(0)
    own, x = built(torch.float32, ()), torch.randn(rows, 64)
    added, bias = torch.randn(rows, 40), [torch.randn(40)]
    trained, not_so = torch.randn(40, 64).bfloat16().float(), torch.randn(40, 64)
    for weight in (trained, not_so):
        product = Product([weight], bias, packed=packed, few=own)
        assert product.narrow is (weight is trained)
        close(product(x, added), x @ weight.T + bias[0] + added)
    assert not Product([trained.bfloat16()], packed=False, few=built(torch.bfloat16, ())).narrow


def test_columns_apart_are_put_together(built):
    torch.manual_seed(0)
    x, a, b = torch.randn(5, 32), torch.randn(1, 1, 2, 32), torch.randn(1, 1, 2, 16)
    ends, groups, (y, apart) = torch.tensor([0, 16]), torch.tensor([[0, 5, 0, 2]]), torch.zeros(2, 5, 16)
    built(torch.float32, ()).add(x, y, a, b, ends, groups)
    built(torch.float32, ()).add(x.T.contiguous().T, apart, a, b, ends, groups)
    assert y.any() and torch.equal(y, apart)


def test_a_plan_lists_tasks_and_groups():
    lane = Lane(64, 64)
    spans = [
        Span(lane=Lane(0, 64), start=9, tokens=[1], use=Use(1, 4)),
        Span(lane=lane, start=10, tokens=list(range(7)), use=Use(0, 2)),
        Span(lane=Lane(128, 64), start=3, tokens=[1]),
    ]
    layout = plan(spans, compiled=Compiled(3))
    assert layout.view.tasks.tolist() == [
        [0, 1, 0, 10], [1, 1, 128, 4], [2, 3, 64, 13], [5, 3, 64, 16], [8, 1, 64, 17],
    ]  # fmt: skip
    assert layout.view.mix[0].groups.tolist() == [[0, 1, 1, 4], [2, 7, 0, 2]]
    assert layout.last.tasks.tolist() == [[0, 1, 0, 10], [1, 1, 128, 4], [2, 1, 64, 17]]
    assert layout.last.mix[0].groups.tolist() == [[0, 1, 1, 4], [2, 1, 0, 2]]
    assert plan(spans[2:], compiled=Compiled(3)).view.mix == ()


class TestWithoutACompiler:
    @pytest.fixture(autouse=True)
    def _anew(self):
        kernels.cache_clear()
        yield
        kernels.cache_clear()

    def test_pytorch_does_it_and_the_log_says_why(self, monkeypatch, caplog):
        monkeypatch.setenv("CC", "/nowhere/cc")
        with caplog.at_level(logging.WARNING):
            assert kernels(torch.float32) is None
        assert "/nowhere/cc" in caplog.text and "slower" in caplog.text

    @pytest.mark.parametrize(("words", "why"), [('"gcc', "closing quotation"), ("false", "non-zero")])
    def test_a_compiler_that_is_no_command(self, monkeypatch, caplog, words, why):
        monkeypatch.setenv("CC", words)
        assert kernels(torch.float32) is None
        assert why in caplog.text

    def test_an_empty_name_is_the_usual_compiler(self, monkeypatch):
        monkeypatch.setenv("CC", "")
        assert isinstance(kernels(torch.float32), Kernels)

    def test_what_the_compiler_says_is_told(self, tmp_path):
        bad = tmp_path / "bad.c"
        bad.write_text("int main( {", encoding="utf-8")
        with pytest.raises(subprocess.CalledProcessError) as raised:
            compiled([bad])
        assert "bad.c" in raised.value.stderr

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("add", lambda *_: None),
            ("attend", lambda _, query, *__: query.flatten(1)),
            ("norm", lambda _, x, *__: x),
            ("gate", lambda _, x: x[:, :32]),
            ("remember", lambda _, heads, *__: heads[:, :1]),
            ("few", lambda _, x, weight, *__: x @ weight.float().T),
        ],
    )
    def test_kernels_that_compute_something_else_are_not_used(self, monkeypatch, caplog, name, wrong):
        monkeypatch.setattr(Kernels, name, wrong)
        assert kernels(torch.float32) is None
        assert "do not compute what PyTorch computes" in caplog.text

    def test_other_dtypes_have_none(self):
        assert kernels(torch.float16) is None

    def test_nothing_is_left_on_disk(self, monkeypatch, tmp_path):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert isinstance(kernels(torch.float32), Kernels)
        assert list(tmp_path.iterdir()) == []


def openmp():
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return {line.split()[-1] for line in lines if "libgomp" in line}


def test_no_second_team_of_threads():
    """Another OpenMP library would bring its own, which hinder PyTorch's."""
    torch.ones(1 << 20).sum()
    before = openmp()
    own = Kernels(compiled(SOURCES), torch.float32)
    own.attend(torch.ones(9, 1, 32), *torch.ones(2, 1, 9, 32), torch.tensor([[0, 9, 0, 9]]), 1.0)
    assert openmp() == before
