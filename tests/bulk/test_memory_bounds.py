"""Memory is bounded by rows, not by files: small files that unpack to much, and surfaces and parts without end."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxcal.bulk.input import cleaned_partition as pack
from jaxcal.bulk.input import file_chunks as table_file
from jaxcal.bulk.input import partition as part
from jaxcal.bulk.input import row_blocks as block
from jaxcal.bulk.input.file_chunks import CHUNK_ROWS, FileChunk, read_file
from jaxcal.bulk.input.input_files import find_source
from jaxcal.bulk.input.input_problem import Problem
from jaxcal.bulk.input.partition import cut_partitions
from jaxcal.bulk.input.row_blocks import read_windows
from jaxcal.bulk.output.partition_files import read_dataset
from jaxcal.bulk.summary import Summary
from jaxcal.market.tables.quote_columns import validate_quotes
from jaxcal.venues import json_file
from jaxcal.venues.deribit import deribit_table as deribit

Make = Callable[..., pd.DataFrame]
Job = Callable[..., Summary]
COLUMNS = {"expiry": 0.5, "strike": 100.0, "iv": 0.2, "forward": 100.0}


def bomb(path: Path, rows: int, *, group: int | None = None, **texts: str) -> Path:
    """A parquet file of equal rows, packed by number and by run length: some bytes for a million of them."""
    numbers = {name: pa.array(np.full(rows, value)) for name, value in COLUMNS.items()}
    words = {name: pa.array([text]).take(pa.array(np.zeros(rows, np.int32))) for name, text in texts.items()}
    table = pa.table({**numbers, **words})
    pq.write_table(table, path, row_group_size=group or rows, compression="zstd", write_statistics=False)
    return path


def chunks(path: Path) -> list[FileChunk | Problem]:
    return list(read_file(find_source(path).files[0]))


@pytest.mark.parametrize("group", [None, 150_000, 1_000])
def test_small_parquet_is_read_so_many_rows_at_a_time(group: int | None, tmp_path: Path) -> None:
    rows = 3 * CHUNK_ROWS + 5
    path = bomb(tmp_path / "a.parquet", rows, group=group, underlying="BTC")
    assert path.stat().st_size < 300_000
    found = [chunk for chunk in chunks(path) if isinstance(chunk, FileChunk)]
    assert max(len(chunk.table) for chunk in found) <= CHUNK_ROWS
    assert [chunk.start for chunk in found] == np.cumsum([0, *(len(chunk.table) for chunk in found)])[:-1].tolist()
    assert sum(len(chunk.table) for chunk in found) == rows
    assert not any(chunk.whole for chunk in found)
    assert found[-1].bytes_read == path.stat().st_size
    assert found[0].table.dtypes.equals(pd.read_parquet(path).dtypes)


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_small_csv_is_read_so_many_rows_at_a_time(ending: str, tmp_path: Path) -> None:
    text = ("expiry,strike,iv\n" + "0.5,100,0.2\n" * (2 * CHUNK_ROWS + 3)).encode()
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(text) if ending == "csv.gz" else text)
    assert [len(chunk.table) for chunk in chunks(path) if isinstance(chunk, FileChunk)] == [CHUNK_ROWS, CHUNK_ROWS, 3]


def test_a_row_with_too_many_cells_far_into_a_csv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "CHUNK_ROWS", 10)
    rows = [f"0.5,{100 + i},0.2" for i in range(45)]
    rows[17] += ",7"
    rows[38] += ",8,9"
    (tmp_path / "a.csv").write_text("\n".join(["expiry,strike,iv", *rows]))
    *found, problem = chunks(tmp_path / "a.csv")
    strikes = [strike for chunk in found if isinstance(chunk, FileChunk) for strike in chunk.table["strike"]]
    assert strikes == [100 + i for i in range(45) if i not in (17, 38)]
    assert str(problem) == "a.csv: 2 rows have more cells than the header, the first of them: 0.5,117,0.2,7"


@pytest.mark.parametrize("what", ["a line", "a quote", "a cell of parquet", "columns of parquet", "columns of csv"])
def test_what_is_too_long_or_too_wide_is_a_problem(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "MOST_TEXT", 1_000_000)
    monkeypatch.setattr(table_file, "MOST_COLUMNS", 50)
    header = "expiry,strike,iv,note"
    if what == "a line":
        path = tmp_path / "a.csv.gz"
        path.write_bytes(gzip.compress(f"{header}\n0.5,100,0.2,{'x' * 5_000_000}\n".encode()))
    elif what == "a quote":
        path = tmp_path / "a.csv.gz"
        path.write_bytes(gzip.compress((f'{header}\n0.5,100,0.2,"' + "0.5,100,0.2,\n" * 500_000).encode()))
    elif what == "a cell of parquet":
        path = bomb(tmp_path / "a.parquet", 1_000, note="x" * 2_000)
    else:
        table = pd.DataFrame({**COLUMNS, **{f"c{i}": 1.0 for i in range(60)}}, index=[0])
        path = tmp_path / ("a.parquet" if "parquet" in what else "a.csv")
        table.to_parquet(path) if "parquet" in what else table.to_csv(path, index=False)
    (problem,) = chunks(path)
    assert isinstance(problem, Problem)
    assert problem.what == "file"
    said = "columns, more than 50" if "columns" in what else r"1,000,000"
    assert said in problem.sentence


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json.gz", b"[" + b"{}," * 60_000 + b"{}]", "more than 50,000 values of JSON"),
        ("a.json.gz", b"[" + b"[]," * 20_000 + b"[]]", "more than 1,000 entries"),
        ("a.jsonl.gz", b"{}\n" * 1_001, "more than 1,000 entries"),
        ("a.jsonl.gz", (b"[" + b"{}," * 400 + b"{}]\n") * 3, "more than 1,000 entries"),
    ],
)
def test_so_is_json_that_unpacks_to_too_much(
    name: str, text: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_file, "MOST_VALUES", 50_000)
    monkeypatch.setattr(deribit, "LARGEST_TABLE", 1_000)
    (tmp_path / name).write_bytes(gzip.compress(text))
    (problem,) = chunks(tmp_path / name)
    assert isinstance(problem, Problem)
    assert (problem.what, said in problem.sentence) == ("file", True), problem


def test_one_long_name_takes_its_own_room_only(tmp_path: Path) -> None:
    """A text of a million letters beside ten thousand short ones: an array of texts would take 40 GB."""
    table = pd.DataFrame({**COLUMNS, "underlying": ["x" * 1_000_000, *["A"] * 9_999]})
    assert len(validate_quotes(table).keys) == 2


def test_a_surface_with_too_many_rows_is_a_problem_and_the_others_are_fitted(
    job: Job, tmp_path: Path, make_quotes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (part, pack):
        monkeypatch.setattr(module, "MOST_ROWS", 40)
    for module in (table_file, block):
        monkeypatch.setattr(module, "CHUNK_ROWS", 16)
    folder = tmp_path / "in"
    folder.mkdir()
    make_quotes([0]).to_csv(folder / "a.csv", index=False)
    for name in ("b.csv", "c.csv"):
        pd.concat([make_quotes([1])] * 4).to_csv(folder / name, index=False)
    make_quotes([2, 3]).to_csv(folder / "d.csv", index=False)
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": 3, "TOO_MANY_ROWS": 1}
    (problem,) = summary.problems
    assert (problem.source, problem.what, problem.lost) == ("b.csv, c.csv", "rows", True)
    assert problem.sentence == (
        "U1 2026-03-11T14:30:00+00:00: Not fitted: it has 64 rows, more than the 40 that a surface may have: give the "
        "quotes of every time their own quote_time."
    )
    row = read_dataset(tmp_path / "out").to_pandas().set_index("outcome").loc["TOO_MANY_ROWS"]
    assert (row["num_quotes"], row["num_left_out"], dict(row["left_out"])) == (0, 64, {"too many rows": 64})
    (tmp_path / "out" / "part-000000.parquet").unlink()
    assert job(folder) == summary


def test_a_part_is_full_of_rows_too(tmp_path: Path, make_quotes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "MOST_PART_ROWS", 30)
    make_quotes(range(10)).to_csv(tmp_path / "a.csv", index=False)
    parts = list(cut_partitions(read_windows(find_source(tmp_path / "a.csv")), 6))
    assert [len(part.surfaces) for part in parts] == [4, 4, 2]  # of eight rows each
    monkeypatch.setattr(part, "MOST_PART_ROWS", 1)
    parts = list(cut_partitions(read_windows(find_source(tmp_path / "a.csv")), 6))
    assert [len(part.surfaces) for part in parts] == [1] * 10


@pytest.mark.parametrize("kind", ["one surface", "many surfaces"])
def test_a_bomb_takes_no_more_memory_than_a_table(kind: str, tmp_path: Path) -> None:
    """Three million rows in some kilobytes; read as one table they are a gigabyte."""
    rows = 3_000_000
    source = bomb(tmp_path / "bomb.parquet", rows, underlying="BTC")
    if kind == "many surfaces":
        table = pq.read_table(source)
        times = pa.array(np.arange(rows) // 10_000 * 10**9, pa.timestamp("us", "UTC"))
        pq.write_table(table.append_column("quote_time", times), source, row_group_size=rows)
    code = (
        "import resource, sys; from pathlib import Path; from jaxcal.bulk.input.input_files import find_source; "
        "from jaxcal.bulk.input.partition import cut_partitions\n"
        "from jaxcal.bulk.input.row_blocks import read_windows\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "parts = cut_partitions(read_windows(find_source(Path(sys.argv[1]))), 16)\n"
        "rows = sum(surface.num_rows for part in parts for surface in part.surfaces)\n"
        "print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(source)], capture_output=True, text=True, check=True)
    found, taken = map(int, ended.stdout.split())
    assert found == rows
    unit = 1024 if sys.platform == "darwin" else 1
    assert taken / unit < 400_000
