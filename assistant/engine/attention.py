"""Attention over lanes of the arena: decoding rows of many requests at once, prompts piece by piece.

It owns how a view is read; keys and values are never copied: neighbouring lanes are one batch, and the
query heads that share a key head are the batch's queries. It refuses to rotate or to project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from assistant.engine.cache import KeyValues
from assistant.engine.kernels import Kernels
from assistant.engine.plan import Plan, Run, Segment, View

Layers = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """Keys and values of one call, by layer: [lanes, heads, length, head_dim], or [heads, groups, ...]."""

    keys: Layers
    values: Layers

    def of(self, layer: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return keys and values of a layer in the dtype of the network that reads them."""
        keys, values = self.keys[layer], self.values[layer]
        return (keys, values) if keys.dtype == dtype else (keys.to(dtype), values.to(dtype))


class Reads:
    """What the rows of a view read in every layer: looked up once, since each look costs as much as a row."""

    def __init__(self, view: View, cache: KeyValues, groups: int) -> None:
        self.view, self.cache = view, cache
        self.whole = len(view.runs) == 1 and not view.segments
        self.places = _places(view.runs[0]) if self.whole else None
        self.runs = [_run(run, cache) for run in view.runs]
        self.segments = [_segment(segment, cache, groups) for segment in view.segments]


class Pass:
    """One forward pass: its plan, where its keys and values go, and what its rows read."""

    def __init__(self, plan: Plan, cache: KeyValues, groups: int, kernels: Kernels | None) -> None:
        self.plan, self.cache = plan, cache
        self.compiled = kernels if plan.view.tasks is not None else None
        self.reads = self.last = Reads(plan.view, cache, groups)
        if plan.last is not plan.view:
            self.last = Reads(plan.last, cache, groups)

    def places(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys and values [heads, places, head_dim] of a layer, and where the rows' own go."""
        return self.cache.keys[layer], self.cache.values[layer], self.plan.writes

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Remember keys and values [rows, heads, head_dim] of a layer."""
        cache, writes = self.cache, self.plan.writes
        dtype = cache.shape.dtype
        if keys.dtype != dtype:
            keys, values = keys.to(dtype), values.to(dtype)
        cache.keys[layer].index_copy_(1, writes, keys.transpose(0, 1))
        cache.values[layer].index_copy_(1, writes, values.transpose(0, 1))


def attend(query: Tensor, layer: int, reads: Reads, scale: float, compiled: Kernels | None) -> Tensor:
    """Return [rows, heads * head_dim] for `query` [rows, heads, head_dim]; its keys are there."""
    view = reads.view
    if compiled and view.tasks is not None:
        cache = reads.cache
        return compiled.attend(query, cache.keys[layer], cache.values[layer], view.tasks, scale)
    if reads.whole:
        return _taken(_decode(query, layer, view.runs[0], reads.runs[0], scale), reads.places)
    result = query.new_empty(query.shape[0], query.shape[1] * query.shape[2])
    for run, read in zip(view.runs, reads.runs, strict=True):
        result[run.targets] = _taken(_decode(query, layer, run, read, scale), run.places)
    for segment, read in zip(view.segments, reads.segments, strict=True):
        result[segment.first : segment.last] = _prefill(query, layer, segment, read, scale)
    return result


def _decode(query: Tensor, layer: int, run: Run, read: _Read, scale: float) -> Tensor:
    """Results [lanes, heads * head_dim] of a run. Those of idle lanes stand for no row."""
    keys, values = read.of(layer, query.dtype)
    lanes, heads = keys.shape[:2]
    rows = query.narrow(0, 0, lanes) if run.rows is None else query.index_select(0, run.rows)
    if lanes == 1 and query.dtype == torch.float32:
        # too few key heads to keep the cores busy: query heads are shared out instead; in bfloat16, where a
        # lone head's products are several times slower than a group's, that loses more than it wins
        rows = rows.view(1, -1, 1, query.shape[2])
        return scaled_dot_product_attention(rows, keys, values, scale=scale, enable_gqa=True).view(1, -1)
    rows = rows.view(lanes, heads, -1, query.shape[2])
    result = scaled_dot_product_attention(rows, keys, values, attn_mask=run.mask, scale=scale)
    return result.reshape(lanes, -1)


def _taken(lanes: Tensor, places: Tensor | None) -> Tensor:
    """Return the results [lanes, ...] at some places; all, where there are none."""
    return lanes if places is None else lanes.index_select(0, places)


def _prefill(query: Tensor, layer: int, segment: Segment, read: _Read, scale: float) -> Tensor:
    keys, values = read.of(layer, query.dtype)
    rows = query[segment.first : segment.last]
    heads, groups = keys.shape[:2]
    split = rows.view(len(rows), heads, groups, -1).permute(1, 2, 0, 3)
    result = scaled_dot_product_attention(
        split, keys, values, attn_mask=segment.mask, is_causal=segment.causal, scale=scale
    )
    return result.permute(2, 0, 1, 3).reshape(len(rows), -1)


def _places(run: Run) -> Tensor | None:
    """Return each row's lane in a run of all rows; None where they are in order."""
    if run.rows is None:
        return None
    lanes = torch.arange(len(run.rows), device=run.rows.device) if run.places is None else run.places
    return torch.empty_like(run.targets).index_copy_(0, run.targets, lanes)


def _run(run: Run, cache: KeyValues) -> _Read:
    lanes = cache.arena[:, :, :, run.first * run.size : run.last * run.size]
    lanes = lanes.view(*lanes.shape[:3], run.last - run.first, run.size, -1).transpose(2, 3)
    lanes = lanes[:, :, :, :, : run.length]
    return _Read(lanes[0].unbind(), lanes[1].unbind())


def _segment(segment: Segment, cache: KeyValues, groups: int) -> _Read:
    tokens = cache.arena[:, :, :, segment.offset : segment.offset + segment.length]
    shared = tokens[:, :, :, None].expand(-1, -1, -1, groups, -1, -1)
    return _Read(shared[0].unbind(), shared[1].unbind())
