from __future__ import annotations

import pytest

from assistant.engine.chat import ChatTokenizer
from assistant.models.identity import identify
from benchmarks.sides.base import Call
from benchmarks.sides.workload import Texts, contexts, mixed, shared_start


def test_the_endless_folder_names_no_end_and_keeps_the_identity(tiny, bench):
    assert ChatTokenizer(tiny).ends
    assert not ChatTokenizer(bench.folder).ends
    assert identify(bench.folder) == identify(tiny)


def test_windows_do_not_repeat_until_all_were_given():
    texts = Texts(list(range(100)))
    first = [texts.window(30) for _ in range(3)]
    assert len({token for window in first for token in window}) == 90
    assert texts.window(30) not in first


def test_a_window_longer_than_the_texts_is_a_bug():
    with pytest.raises(AssertionError, match="fewer"):
        Texts([1, 2]).window(10)


def test_contexts_differ_from_their_start(models_folder):
    texts = Texts.read(models_folder / "smollm2-135m-instruct")
    calls = contexts(texts, 32, new_tokens=64)
    assert all(360 <= len(call.tokens) <= 400 for call in calls)
    assert shared_start(calls) < 10


def test_shared_start_sees_a_shared_start():
    calls = [Call(tokens=tokens, new_tokens=1) for tokens in ((1, 2, 3), (5, 6), (1, 2, 9))]
    assert shared_start(calls) == 2
    assert shared_start(calls[:2]) == 0


def test_mixed_deals_adapters_out():
    calls = [Call(tokens=(n,), new_tokens=3) for n in range(5)]
    assert [call.adapter for call in mixed(calls, 2)] == [0, 1, 0, 1, 0]
    assert [call.tokens for call in mixed(calls, 2)] == [call.tokens for call in calls]
