"""CSV files that we write: no cell begins a formula, numbers stay numbers, and names are read back as they were."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import jaxcal as jc
from jaxcal.market.tables.csv_file import guarded, unguarded, write_csv

FORMULAS = [
    "=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "=", "-", "--", "'=1", "''@x", "＝1+1", "\ufeff=1",
    "-1+cmd|' /C calc'!A0", '=HYPERLINK("http://a","b")', "-inf", "=\u20281", "−1",
]  # fmt: skip
NUMBERS = ["-1.5", "+2", "-.5e-3", "1e9", "-0"]
PLAIN = ["BTC", "", "'quoted", "a=b", "A-1", "1-2", "'", "O'Neil"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_text_begins_a_formula(text: str) -> None:
    assert guarded(text) == "'" + text
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", NUMBERS + PLAIN)
def test_other_texts_stay(text: str) -> None:
    assert guarded(text) == text == unguarded(text)


@given(st.text(alphabet=st.sampled_from(list("'=+-@\t\r\n 1.eA")), max_size=6) | st.text(max_size=12))
@example("'=")
def test_every_text_is_read_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text).startswith("'") or not re.match(r"[=@\t\r\n]", text)


def test_a_table_is_written_and_read(tmp_path: Path) -> None:
    names = [*FORMULAS, *PLAIN, None]
    table = pd.DataFrame({"=name": pd.Series(names, dtype=object), "value": -np.arange(len(names), dtype=float)})
    table["kind"] = pd.Categorical(["=k"] * len(names))
    table["when"] = pd.Timestamp("2026-03-02T16:00Z")
    table["mixed"] = pd.Series([-1, "-2", "=3"] * 20, dtype=object)[: len(names)]
    before = table.copy()
    write_csv(table, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(table, before)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["'=name", "value", "kind", "when", "mixed"]
    assert [row[0] for row in rows] == ["" if name is None else guarded(name) for name in names]
    assert [float(row[1]) for row in rows] == table["value"].tolist()
    assert {row[2] for row in rows} == {"'=k"}
    assert [row[4] for row in rows[:3]] == ["-1", "-2", "'=3"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_names_are_the_same_when_they_are_read_again(tmp_path: Path) -> None:
    quotes = {"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": [0.21, 0.2, 0.2], "forward": 100.0}
    names = ["=cmd|' /C calc'!A0", "@A", "-B", "+C", "'=D"]
    write_csv(pd.concat([pd.DataFrame({**quotes, "underlying": name}) for name in names]), tmp_path / "a.csv")
    surfaces = jc.surfaces_from_quotes(jc.read_quotes(tmp_path / "a.csv"))
    assert [key[0] for key in surfaces] == sorted(names)


def test_a_file_that_cannot_be_written_is_not_half_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OSError, match=r"a\.csv"):
        write_csv(pd.DataFrame({"a": [1]}), tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_half_a_letter_is_written_by_its_number(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"a": pd.Series(["b\udcff"], dtype=object)}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "a\nb\\udcff\n"
