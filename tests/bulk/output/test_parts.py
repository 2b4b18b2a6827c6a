"""Surfaces keep their rows together, whatever the files look like; parts are cut in the order of the input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jaxcal.bulk.input import file_chunks as table_file
from jaxcal.bulk.input import partition as part
from jaxcal.bulk.input import row_blocks as block
from jaxcal.bulk.input.input_files import find_source
from jaxcal.bulk.input.input_problem import BulkError, Problem
from jaxcal.bulk.input.partition import Partition, cut_partitions
from jaxcal.bulk.input.partition_rows import PartitionRows
from jaxcal.bulk.input.row_blocks import read_windows

Make = Callable[..., pd.DataFrame]


def parts_of(path: Path, size: int = 1000) -> list[Partition]:
    return list(cut_partitions(read_windows(find_source(path)), size))


def surfaces_of(parts: list[Partition]) -> list[tuple[str | None, int]]:
    return [(surface.key[0], surface.num_rows) for part in parts for surface in part.surfaces]


def problems_of(parts: list[Partition]) -> list[Problem]:
    return [problem for part in parts for problem in part.problems]


@pytest.fixture
def pieces_of_20_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as large, and are read 20 rows at a time."""
    monkeypatch.setattr(table_file, "LARGE", 1)
    monkeypatch.setattr(table_file, "CHUNK_ROWS", 20)
    monkeypatch.setattr(block, "CHUNK_ROWS", 20)


def write(table: pd.DataFrame, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False, **options)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["quotes.csv", "quotes.csv.gz", "quotes.parquet"])
def test_surfaces_that_span_pieces_of_a_file_are_whole(
    name: str, tmp_path: Path, make_quotes: Make, pieces_of_20_rows: None
) -> None:
    path = write(make_quotes(range(20)), tmp_path / name, **({"row_group_size": 7} if "parquet" in name else {}))
    parts = parts_of(path, 6)
    assert [len(part.surfaces) for part in parts] == [6, 6, 6, 2]
    assert surfaces_of(parts) == [(f"U{i % 5}", 8) for i in range(20)]
    assert [part.number for part in parts] == [0, 1, 2, 3]
    assert problems_of(parts) == []
    assert parts[-1].bytes_read == path.stat().st_size
    rows = [row for part in parts for table, _ in PartitionRows.of(part).tables for row in table["source_row"]]
    assert rows == list(range(160))


def test_surfaces_that_span_neighbouring_files_are_whole(tmp_path: Path, make_quotes: Make) -> None:
    quotes = make_quotes(range(3))
    for i in range(3):  # files of rows that end in the middle of surfaces
        write(quotes[9 * i : 9 * i + 9], tmp_path / f"{i}.parquet")
    ((surface, *_),) = (part.surfaces for part in parts_of(tmp_path))
    assert surfaces_of(parts_of(tmp_path)) == [("U0", 8), ("U1", 8), ("U2", 8)]
    assert surface.sources == ("0.parquet",)
    assert parts_of(tmp_path)[0].surfaces[1].sources == ("0.parquet", "1.parquet")


def test_rows_in_any_order_within_a_window_are_sorted_out(tmp_path: Path, make_quotes: Make) -> None:
    quotes = make_quotes(range(6)).sample(frac=1.0, random_state=0)
    assert sorted(surfaces_of(parts_of(write(quotes, tmp_path / "a.csv")))) == sorted(
        (f"U{i % 5}", 8) for i in range(6)
    )


def test_files_written_by_expiry_are_joined_window_after_window(
    tmp_path: Path, make_quotes: Make, pieces_of_20_rows: None
) -> None:
    quotes = make_quotes(range(5)).sort_values("expiry", kind="stable")  # 20 rows of each expiry
    assert surfaces_of(parts_of(write(quotes, tmp_path / "a.csv"))) == [(f"U{i}", 8) for i in range(5)]


def test_rows_far_from_their_surface_are_left_out_and_said(
    tmp_path: Path, make_quotes: Make, pieces_of_20_rows: None
) -> None:
    quotes = make_quotes([0, 1, 2, 3, 4, 5, 6, 7, 8, 0])
    parts = parts_of(write(quotes, tmp_path / "a.csv"))
    assert surfaces_of(parts) == [(f"U{i % 5}", 8) for i in range(9)]
    (problem,) = problems_of(parts)
    assert problem.what == "scattered"
    assert problem.lost
    assert str(problem).startswith("a.csv: 8 rows of U0 2026-03-11T14:30:00Z are left out")


def test_input_that_would_have_to_be_sorted_first_is_refused(
    tmp_path: Path, make_quotes: Make, pieces_of_20_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(pd.concat([make_quotes(range(12))] * 2), tmp_path / "a.csv")
    monkeypatch.setattr(part, "_MOST_SCATTERED", 5)
    with pytest.raises(BulkError, match="sort the input by underlying and quote_time"):
        parts_of(path)
    mixed = write(make_quotes(range(5)).sort_values("expiry"), tmp_path / "b.csv")
    monkeypatch.setattr(part, "_MOST_OPEN", 30)
    with pytest.raises(BulkError, match="sort it by underlying and quote_time"):
        parts_of(mixed)


def test_files_without_an_underlying_are_surfaces_of_their_own(tmp_path: Path, make_quotes: Make) -> None:
    for name in ("a/BTC.csv", "a/ETH.csv"):
        write(make_quotes([0]).drop(columns="underlying"), tmp_path / name)
    assert surfaces_of(parts_of(tmp_path)) == [("a/BTC", 8), ("a/ETH", 8)]
    assert surfaces_of(parts_of(tmp_path / "a/BTC.csv")) == [(None, 8)]


def test_files_without_a_time_are_surfaces_of_their_own(tmp_path: Path, make_quotes: Make) -> None:
    for name in ("monday.csv", "tuesday.csv"):
        write(make_quotes([0, 1]).drop(columns="quote_time"), tmp_path / name)
    parts = parts_of(tmp_path)
    assert surfaces_of(parts) == [("U0", 8), ("U1", 8)] * 2
    assert [surface.sources for surface in parts[0].surfaces[1:3]] == [("monday.csv",), ("tuesday.csv",)]


def test_folders_give_columns(tmp_path: Path, make_quotes: Make) -> None:
    for name in ("BTC", "ETH"):
        write(make_quotes([0]).drop(columns="underlying"), tmp_path / f"underlying={name}" / "0.parquet")
    assert surfaces_of(parts_of(tmp_path)) == [("BTC", 8), ("ETH", 8)]


def test_recorded_answers_stand_beside_tables(tmp_path: Path, make_quotes: Make) -> None:
    entry = {"base_currency": "BTC", "underlying_price": 1e5, "creation_timestamp": 1749938299495, "mark_iv": 41.0}
    names = ["BTC-27JUN25-100000-C", "BTC-27JUN25", "BTC-27JUN25-110000-C"]  # the second is a future
    answer = {"jsonrpc": "2.0", "result": [{"instrument_name": name, "mark_price": 0.05, **entry} for name in names]}
    for number in (0, 1):
        (tmp_path / f"{number}.json").write_text(json.dumps(answer).replace("1749938299495", f"17499382994{number}5"))
    write(make_quotes([0]), tmp_path / "2.csv")
    (tmp_path / "3.txt").write_text("expiry,strike,iv\n0.5,100,0.2\n")
    for venue in (None, "tidy"):
        (one,) = list(cut_partitions(read_windows(find_source(tmp_path), venue), 1000))
        assert [(s.key[0], s.num_rows) for s in one.surfaces] == [("BTC", 3), ("BTC", 3), ("U0", 8), ("3", 1)]
        assert one.problems == ()
        assert PartitionRows.of(one).tables[0][0]["fault"].tolist() == ["", "a future, no option", ""] * 2


def test_tables_with_other_columns_stand_side_by_side(tmp_path: Path, make_quotes: Make) -> None:
    write(make_quotes([0, 1]), tmp_path / "0.csv")
    write(make_quotes([2], option_type="C", price=np.nan), tmp_path / "1.csv")
    timed = make_quotes([3])
    write(timed.assign(expiry=timed["quote_time"] + pd.Timedelta(days=30)), tmp_path / "2.csv")
    (one,) = parts_of(tmp_path)
    assert [surface.num_rows for surface in one.surfaces] == [8, 8, 8, 8]
    assert [sorted(set(places)) for _, places in PartitionRows.of(one).tables] == [[0, 1], [2], [3]]


def test_a_poll_is_one_surface_within_a_file_and_ends_with_it(
    tmp_path: Path, make_quotes: Make, pieces_of_20_rows: None
) -> None:
    def polled(minute: int) -> pd.DataFrame:
        """Instruments asked for one after another, two seconds apart."""
        table = make_quotes([0, 5, 10]).drop(columns=["quote_time", "forward"])
        stamps = pd.Timestamp("2026-03-11T14:00Z") + pd.to_timedelta(60 * minute + 2 * np.arange(len(table)), unit="s")
        given = {"snapshot_ts": stamps, "option_type": "C", "mark_iv": table["iv"], "underlying_price": 100.0}
        return table.drop(columns="iv").assign(expiry="2026-09-11T08:00Z", **given)

    whole = tmp_path / "whole" / "a.csv"
    write(pd.concat([polled(0), polled(60)]), whole)
    assert surfaces_of(parts_of(whole)) == [("U0", 24), ("U0", 24)]  # 24 rows each, read 20 at a time
    for minute in (0, 1):
        write(polled(minute), tmp_path / "apart" / f"{minute}.csv")
    assert surfaces_of(parts_of(tmp_path / "apart")) == [("U0", 24), ("U0", 24)]


def test_small_files_are_read_together_with_the_same_result(
    tmp_path: Path, make_quotes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(7):
        write(make_quotes([2 * i, 2 * i + 1]), tmp_path / f"{i}.csv")
    together = parts_of(tmp_path, 4)
    monkeypatch.setattr(block, "FILES", 1)
    alone = parts_of(tmp_path, 4)
    assert [part.cut.digest for part in together] == [part.cut.digest for part in alone]
