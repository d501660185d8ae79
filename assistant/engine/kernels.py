"""Attention, adapters and what stands between products, compiled for this very CPU where there is a compiler.

It owns compiling what is in `native/` (a second, once a process, nothing is kept on disk) and calling it
with tensors. OpenMP's threads compute, PyTorch's own: its library is in the process already. It refuses
other dtypes than float32 and bfloat16 and is for CPUs; without it the engine runs on PyTorch's operators.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

_FLAGS = {torch.float32: (), torch.bfloat16: ("-DBFLOAT16",)}
_COMPILED = ("-O3", "-march=native", "-std=gnu11", "-fopenmp", "-fPIC")
_LONGEST_S = 120
_SOURCES = Path(__file__).with_name("native")
_KINDS = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "r": ctypes.c_float}

log = logging.getLogger(__name__)


@cache
def kernels(dtype: torch.dtype) -> Kernels | None:
    """Return the kernels for a dtype; None where they cannot be had, and the log says why."""
    if dtype not in _FLAGS:
        return None
    try:
        made = Kernels(compiled(sorted(_SOURCES.glob("*.c")), _FLAGS[dtype]), dtype)
        if agree(made):
            return made
        why = "they do not compute what PyTorch computes"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why = str(getattr(error, "stderr", None) or error).strip()
    log.warning("No compiled kernels, PyTorch's operators are used (slower): %s", why)
    return None


def compiled(sources: Sequence[Path], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile C files with `$CC` (or `cc`) and load what comes of them.

    Raises:
        ValueError: `$CC` is no command.
        OSError: there is no compiler, or what it made cannot be loaded here.
        subprocess.SubprocessError: it refused (its words are in `stderr`), or took minutes.
    """
    compiler = shlex.split(os.environ.get("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        # linked without OpenMP's library: a second one would bring a second team of threads
        for command in (
            [*compiler, *_COMPILED, *flags, "-c", *map(str, sources)],
            [*compiler, "-shared", *(f"{source.stem}.o" for source in sources), "-lm", "-o", "kernels.so"],
        ):
            subprocess.run(  # noqa: S603
                command,
                check=True,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LONGEST_S,
                cwd=folder,
            )
        return ctypes.CDLL(str(Path(folder) / "kernels.so"), mode=os.RTLD_NOW | os.RTLD_LOCAL)


def agree(made: Kernels) -> bool:
    """Whether kernels give what PyTorch's operators give: a compiler's mistake must not reach an answer."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).to(made.dtype)

    coarse = 0.03 if made.dtype == torch.bfloat16 else 1e-4
    return all(
        bool((one.float() - other).abs().max() < coarse * other.abs().max())
        for one, other in (*_heads(made, drawn), *_products(made, drawn))
    )


def _heads(made: Kernels, drawn: Callable[..., Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a prompt's one head is turned into and attends to, by kernels and by PyTorch."""
    heads, weight, cos, sin = drawn(40, 3, 64), drawn(64), drawn(40, 1, 64), drawn(40, 1, 64)
    keys, values = torch.zeros(2, 1, 40, 64, dtype=made.dtype)
    query = made.remember(heads, (cos, sin), [_Weight(weight, 1e-5)] * 2, keys, values, torch.arange(40))
    normed = rms_norm(heads[:, :2].float(), (64,), weight.float(), 1e-5)
    turned = normed * cos.float() + normed.roll(32, 2) * sin.float()
    yield torch.cat((query, keys.transpose(0, 1)), 1), turned
    tasks = torch.tensor([[row, 1, 0, row + 1] for row in range(20)] + [[20, 20, 0, 40]])
    own, others = turned.transpose(0, 1)
    attended = scaled_dot_product_attention(
        own[None], others[None], heads[None, :, 2].float(), is_causal=True
    )
    yield made.attend(query, keys, values, tasks, 64**-0.5), attended[0]


def _products(made: Kernels, drawn: Callable[..., Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an adapter of two parts, a norm, a gate and products of few rows, by kernels and by PyTorch."""
    x, y, a, b, weight = drawn(40, 64), drawn(40, 64), drawn(2, 2, 16, 64), drawn(2, 2, 16, 64), drawn(64)
    one, other = (x.float() @ a[1, part].float().T @ b[1, part].float() for part in (0, 1))
    added = y.float() + torch.cat((one[:, :32], other[:, 32:]), 1)
    made.add(x, y, a, b, torch.tensor([0, 32, 64]), torch.tensor([[0, 40, 1, 16]]))
    yield y, added
    yield made.norm(x, weight, 1e-5), rms_norm(x.float(), (64,), weight.float(), 1e-5)
    yield made.gate(x), silu(x[:, :32].float()) * x[:, 32:].float()
    for rows in range(1, made.most_rows + 1):
        narrow = y[:30].bfloat16()
        yield (
            made.few(x[:rows], narrow, x[5, :30], y[:rows, :30]),
            x[:rows] @ narrow.float().T + x[5, :30] + y[:rows, :30],
        )


class Norm(Protocol):
    """A root mean square norm: its weight [size] and what is added to the mean square."""

    @property
    def weight(self) -> Tensor: ...  # noqa: D102

    @property
    def epsilon(self) -> float: ...  # noqa: D102


class _Weight(NamedTuple):
    weight: Tensor
    epsilon: float


class Kernels:
    """The functions of `native/` for one dtype, on tensors of the CPU."""

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._attend = _function(library.attend, "p n ppp nnnn p n r")
        self._add = _function(library.add_adapters, "p nn p nn pp nn pp n", ctypes.c_int)
        self._norm = _function(library.norm, "p n p r p nn")
        self._gate = _function(library.gate, "pp nn")
        self._remember = _function(library.remember, "ppppp r pppp nnnnn")
        self.most_rows = 0
        """How many rows `few` takes at most."""
        if dtype == torch.float32:
            self._few = _function(library.few, "p n ppp n p nnn")
            self.most_rows = int(library.most_rows())
        self._multiple, self._queries, self._dim = (
            int(getattr(library, name)()) for name in ("multiple", "most_queries", "most_dim")
        )

    def block(self, groups: int, head_dim: int) -> int | None:
        """How many rows of a prompt one task of `attend` may have; None where it cannot read such heads."""
        if head_dim % self._multiple or head_dim > self._dim:
            return None
        return self._queries // groups or None

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, tasks: Tensor, scale: float) -> Tensor:
        """Return what rows read in the arena, [rows, heads * head_dim].

        Args:
            query: [rows, heads, head_dim], each row's heads one after another; in another dtype, so is
                what is returned.
            keys, values: [key heads, places, head_dim] of a layer; the rows' own are there.
            tasks: [tasks, 4] int64: first row, rows, offset of the request's lane, how many of its tokens
                the last of these rows sees; each row before sees one less. Every row is in one task.
            scale: of scores.
        """
        rows, heads, size = query.shape
        if query.dtype != self.dtype:
            return self.attend(query.to(self.dtype), keys, values, tasks, scale).to(query.dtype)
        if query.stride(1) != size or query.stride(2) != 1:
            query = query.contiguous()
        result = query.new_empty(rows, heads * size)
        self._attend(
            query.data_ptr(), query.stride(0), result.data_ptr(), keys.data_ptr(), values.data_ptr(),
            keys.shape[1], keys.shape[0], heads // keys.shape[0], size, tasks.data_ptr(), len(tasks), scale,
        )  # fmt: skip
        return result

    def add(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor, ends: Tensor, groups: Tensor) -> None:
        """Add to `y` [rows, out], its columns side by side, what adapters give for `x` [rows, in].

        Args:
            a, b: [slots, parts, room, in] and [slots, parts, room, out], contiguous; room is even.
            ends: [parts + 1] int64: part p has the columns from `ends[p]` to `ends[p + 1]`.
            groups: [groups, 4] int64: first row, rows, slot, rank. No row is in two.
        """
        if x.stride(1) != 1:
            x = x.contiguous()
        failed = self._add(
            x.data_ptr(), x.stride(0), x.shape[1], y.data_ptr(), y.stride(0), y.shape[1],
            a.data_ptr(), b.data_ptr(), a.shape[1], a.shape[2], ends.data_ptr(), groups.data_ptr(),
            len(groups),
        )  # fmt: skip
        if failed:
            raise MemoryError("no memory for the adapters' products")

    def few(self, x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None) -> Tensor:
        """Return x Wᵀ [rows, out], and `bias` [out] and `added` [rows, out] with it, for up to `most_rows`.

        Args:
            x: [rows, in], float32 like all the others.
            weight: [out, in], contiguous, bfloat16.
        """
        x = x if x.stride(1) == 1 else x.contiguous()
        added = added if added is None or added.stride(1) == 1 else added.contiguous()
        rows, (outs, size) = x.shape[0], weight.shape
        result = x.new_empty(rows, outs)
        self._few(
            x.data_ptr(), x.stride(0), weight.data_ptr(), None if bias is None else bias.data_ptr(),
            None if added is None else added.data_ptr(), 0 if added is None else added.stride(0),
            result.data_ptr(), rows, size, outs,
        )  # fmt: skip
        return result

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Return `x` [rows, size], its columns side by side, by its inverse root mean square and `weight`."""
        rows, size = x.shape
        result = x.new_empty(rows, size)
        self._norm(x.data_ptr(), x.stride(0), weight.data_ptr(), epsilon, result.data_ptr(), rows, size)
        return result

    def gate(self, both: Tensor) -> Tensor:
        """Return silu(gate) * up [rows, size] of `both` [rows, 2 * size], contiguous, gate first."""
        rows, size = both.shape[0], both.shape[1] // 2
        result = both.new_empty(rows, size)
        self._gate(both.data_ptr(), result.data_ptr(), rows, size)
        return result

    def remember(
        self, projected: Tensor, rotation: tuple[Tensor, Tensor], norms: Sequence[Norm],
        keys: Tensor, values: Tensor, writes: Tensor,
    ) -> Tensor:  # fmt: skip
        """Write a layer's keys and values into the arena; return its queries [rows, heads, head_dim].

        Args:
            projected: [rows, query heads + key heads + value heads, head_dim], contiguous.
            rotation: cos and sin [rows, 1, head_dim], the left half of sin negative.
            norms: of queries and of keys, where they are normed first.
            keys, values: [key heads, places, head_dim] of the layer, written at `writes` [rows].
        """
        rows, heads, size = projected.shape
        queries = heads - 2 * keys.shape[0]
        result = projected.new_empty(rows, queries, size)
        cos, sin = rotation
        of_query, of_key = (part.weight.data_ptr() for part in norms) if norms else (None, None)
        epsilon = norms[0].epsilon if norms else 0.0
        self._remember(
            projected.data_ptr(), cos.data_ptr(), sin.data_ptr(), of_query, of_key, epsilon,
            result.data_ptr(), keys.data_ptr(), values.data_ptr(), writes.data_ptr(),
            rows, queries, keys.shape[0], keys.shape[1], size,
        )  # fmt: skip
        return result


def _function(function: Any, arguments: str, result: type | None = None) -> Any:  # noqa: ANN401 - untyped
    """Say what a C function takes: p for a pointer, n for a number, r for a real one."""
    function.argtypes = tuple(_KINDS[kind] for kind in arguments.replace(" ", ""))
    function.restype = result
    return function
