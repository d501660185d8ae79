"""Tables as lines: what is taken for a header, and what for data."""

import pytest

from assistant.extraction.extracted import Builder
from assistant.extraction.table import add_table


def read(rows, explicit_header=False):
    builder = Builder()
    add_table(builder, rows, explicit_header=explicit_header)
    extracted = builder.build(title="-", media_type="x")
    return [(b.kind, extracted.text[b.start : b.end]) for b in extracted.blocks]


def test_values_stand_beside_their_column():
    rows = [["Country", "Rate", "Cap"], ["Norway", "92", "210"], ["UK", "", "75"]]
    assert read(rows) == [("table", "Country: Norway | Rate: 92 | Cap: 210\nCountry: UK | Cap: 75")]


def test_captions_and_blank_rows_part_a_sheet():
    rows = [
        ["Rules 2026", ""],
        ["", ""],
        ["Rule", "Value"],
        ["Mileage", "0.42"],
        ["", ""],
        ["Owner", "Ines"],
        ["Seat", "Leeds"],
    ]
    assert read(rows) == [
        ("table", "Rules 2026"),
        ("table", "Rule: Mileage | Value: 0.42"),
        ("table", "Owner: Ines\nSeat: Leeds"),
    ]


def test_a_caption_right_above_the_header():
    assert read([["Rates", "", ""], ["A", "B", "C"], ["x", "y", "z"]]) == [
        ("paragraph", "Rates"),
        ("table", "A: x | B: y | C: z"),
    ]


def test_without_a_header_rows_stay_as_they_are():
    assert read([["1", "2", "3"], ["4", "5", "6"]]) == [("table", "1 | 2 | 3\n4 | 5 | 6")]


def test_an_explicit_header_is_believed():
    rows = [["Owner", "Ines"], ["Seat", "Leeds"]]
    assert read(rows, explicit_header=True) == [("table", "Owner: Seat | Ines: Leeds")]


def test_midnight_is_no_time_and_cells_are_one_line():
    assert read([["A", "B", "C"], ["2026-01-01 00:00:00", "x\n y", "z"]]) == [
        ("table", "A: 2026-01-01 | B: x y | C: z")
    ]


@pytest.mark.parametrize("rows", [[], [[]], [["", ""]], [[], ["", ""]]])
def test_an_empty_table_is_nothing(rows):
    assert read(rows) == []
