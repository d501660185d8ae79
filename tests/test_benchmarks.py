from __future__ import annotations

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import figures
from benchmarks.figures import Figure


@pytest.mark.parametrize(
    ("bars", "value", "holds"),
    [
        ({"at_least": 0.9}, 0.9, True),
        ({"at_least": 0.9}, 0.89, False),
        ({"at_most": 0}, 0, True),
        ({"at_most": 0}, 1, False),
        ({"aim": 0.6}, 0.1, None),
        ({}, 5, None),
    ],
)
def test_a_figure_holds_its_bar(bars, value, holds):
    line = json.loads(Figure(figure="f", value=value, unit="share", **bars).line())
    assert (line["value"], line["holds"]) == (value, holds)
    assert line["bar"] == bars.get("at_least", bars.get("at_most"))
    assert line.get("aim") == bars.get("aim")


def test_a_figure_without_data_says_why():
    line = json.loads(Figure(figure="f", value=None, unit="s", at_most=1, skipped="no data").line())
    assert (line["value"], line["holds"], line["skipped"]) == (None, None, "no data")
    with pytest.raises(AssertionError):
        Figure(figure="f", value=None, unit="s")


def test_results_are_saved_with_machine_and_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    file = figures.save("x", [Figure(figure="f", value=1, unit="s")], quick=True)
    saved = json.loads(file.read_text())
    assert saved["figures"] == [{"figure": "f", "value": 1, "unit": "s", "bar": None, "holds": None}]
    assert saved["machine"]["cores"] >= 1
    assert saved["machine"]["versions"]["torch"]


def test_benchmarks_are_found_by_name(capsys):
    assert "sample" in command.names()
    assert not {"figures", "__main__"} & set(command.names())
    with pytest.raises(SystemExit) as end:
        command.main(["nothing-of-the-kind"])
    assert end.value.code == 2
    assert "sample" in capsys.readouterr().err
