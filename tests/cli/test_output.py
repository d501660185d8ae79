from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.cli.output import Flow, print_json, print_table, width


@given(pieces=st.lists(st.text(alphabet="ab c\n", max_size=30), max_size=12))
def test_flow_prints_every_word_within_the_width_however_it_is_cut(pieces):
    text = "".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        import io
        import sys

        patch.setattr(sys, "stdout", io.StringIO())
        flow = Flow("    ")
        for piece in pieces:
            flow.write(piece)
        flow.finish()
        printed = sys.stdout.getvalue()
    assert printed.split() == text.split()
    assert all(len(line) <= width() for line in printed.splitlines())
    assert all(line.startswith("    ") for line in printed.splitlines() if line)
    whole = [line.split() for line in text.split("\n") if line.split()]
    if all(len(" ".join(line)) < width() - 5 for line in whole):
        assert [line.split() for line in printed.splitlines() if line] == whole


def test_table_and_json(capsys):
    print_table(("A", "LONG"), [(1, "x"), ("wide", None)])
    assert capsys.readouterr().out == "A     LONG\n1     x\nwide\n"
    print_table(("A",), [], empty="nothing")
    assert capsys.readouterr().out == "nothing\n"
    print_json({"set": frozenset({"b", "a"})})
    assert '"a",\n    "b"' in capsys.readouterr().out
    with pytest.raises(TypeError):
        print_json(object())
