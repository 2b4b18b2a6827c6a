"""What cannot be read is said and left out, everything else is done; a disk that cannot be written to ends the job."""

import errno
import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxcal.bulk.input import file_chunks as table_file
from jaxcal.bulk.input import input_files as source_module
from jaxcal.bulk.input.input_problem import BulkError, Problem
from jaxcal.bulk.output import dataset as store
from jaxcal.bulk.output import partition_files as part_file
from jaxcal.bulk.summary import Summary

Make = Callable[..., pd.DataFrame]
Job = Callable[..., Summary]
GOOD = 3  # surfaces in the files that can be read


@pytest.fixture
def folder(tmp_path: Path, make_quotes: Make) -> Path:
    """A good file before the bad one and one behind it."""
    path = tmp_path / "in"
    path.mkdir()
    make_quotes([0, 1]).to_csv(path / "a.csv", index=False)
    make_quotes([2]).to_parquet(path / "z.parquet", index=False)
    return path


def parquet_bytes(table: pd.DataFrame, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table), sink, **options)
    return sink.getvalue().to_pybytes()


def csv_bytes(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


# What stands in the bad file, made of the quotes of a fourth surface; its ending; the kind of problem; what is said.
BAD_FILES: dict[str, tuple[Callable[[pd.DataFrame], bytes], str, str, str]] = {
    "no bytes": (lambda quotes: b"", "csv", "file", "the file is empty"),
    "no bytes, parquet": (lambda quotes: b"", "parquet", "file", "the file cannot be read: .*"),
    "not parquet": (lambda quotes: b"PAR1 but not really", "parquet", "file", "the file cannot be read: .*"),
    "truncated parquet": (lambda quotes: parquet_bytes(quotes)[:-200], "parquet", "file", "the file cannot be read"),
    "truncated gzip": (lambda quotes: gzip.compress(csv_bytes(quotes))[:-20], "csv.gz", "file", "cannot be read"),
    "not gzip": (csv_bytes, "csv.gz", "file", "the file cannot be read"),
    "binary": (lambda quotes: bytes(range(256)) * 10, "csv", "file", "layout|cannot be read|not a CSV table"),
    "other columns": (lambda quotes: b"date,close\n2026-01-05,100\n", "csv", "file", "columns found: date, close"),
    "order book": (lambda quotes: b"side,level,price\nbid,0,1\n", "csv", "file", "order-book"),
    "no strike": (lambda quotes: csv_bytes(quotes.drop(columns="strike")), "csv", "file", "layout .* not known"),
    "a column twice": (
        lambda quotes: parquet_bytes(quotes).replace(b"forward", b"expiryy") and _twice(quotes),
        "parquet", "file", "column strike occurs twice|cannot be read",
    ),
    "rows longer than the header": (
        lambda quotes: b"expiry,strike,iv\n0.5,100,0.2,7\n0.5,110,0.21,8\n", "csv", "file", "more cells than",
    ),
    "not JSON": (lambda quotes: b'{"result": [', "json", "file", "is no JSON"),
    "JSON of something else": (lambda quotes: b'{"title": "notes"}', "json", "empty", "^0 of 1 entries"),
    "header alone": (lambda quotes: csv_bytes(quotes[:0]), "csv", "empty", "it has no rows"),
    "no rows, parquet": (lambda quotes: parquet_bytes(quotes[:0]), "parquet", "empty", "it has no rows"),
    "no key": (lambda quotes: csv_bytes(quotes.assign(quote_time="soon")), "csv", "rows", "8 rows without .*row 0"),
}  # fmt: skip


def _twice(quotes: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(quotes, preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(table.append_column("strike", table["strike"]), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_said_and_left_out(case: str, folder: Path, job: Job, tmp_path: Path, make_quotes: Make) -> None:
    content, ending, what, said = BAD_FILES[case]
    (folder / f"bad.{ending}").write_bytes(content(make_quotes([3])))
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": GOOD}
    (problem,) = summary.problems
    assert (problem.source, problem.what) == (f"bad.{ending}", what)
    assert pd.Series([problem.sentence]).str.contains(said).all(), problem.sentence
    assert summary.complete is (what == "empty")
    written = pd.read_csv(tmp_path / "out" / "_problems.csv")
    assert written.to_dict("records") == [{"source": problem.source, "what": what, "sentence": problem.sentence}]


def test_a_file_in_percent_is_said_and_left_out(folder: Path, job: Job, tmp_path: Path, make_quotes: Make) -> None:
    quotes = make_quotes([3])
    quotes.assign(iv=100 * quotes["iv"], note="x").to_csv(folder / "bad.csv", index=False)
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": GOOD, "UNREADABLE": 1}
    assert "percent: divide by 100" in pd.read_parquet(tmp_path / "out")["status"].iloc[2]
    assert [problem.what for problem in summary.problems] == ["rows"]


@pytest.mark.parametrize("what", ["a cell", "too many cells", "no underlying"])
def test_a_bad_row_is_said_and_left_out(what: str, folder: Path, job: Job, make_quotes: Make) -> None:
    lines = csv_bytes(make_quotes([3])).decode().splitlines()
    cells = lines[3].split(",")
    if what == "a cell":
        cells[3] = "a hundred"
    elif what == "no underlying":
        cells[0] = ""
    lines[3] = ",".join(cells + (["1", "2"] if what == "too many cells" else []))
    (folder / "bad.csv").write_text("\n".join(lines))
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": GOOD + 1}
    (problem,) = summary.problems
    assert (problem.source, problem.what) == ("bad.csv", "rows")
    assert summary.quotes == (GOOD + 1) * 7 - 1
    assert not summary.complete


def test_a_damaged_row_group_is_said_and_left_out(
    folder: Path, job: Job, make_quotes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_file, "LARGE", 1)
    monkeypatch.setattr(table_file, "CHUNK_ROWS", 8)
    content = bytearray(parquet_bytes(make_quotes(range(10, 13)), row_group_size=8, use_dictionary=False))
    groups = pq.ParquetFile(pa.BufferReader(bytes(content))).metadata
    column = groups.row_group(1).column(2)
    content[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = b"\xff" * (
        column.total_compressed_size
    )
    (folder / "bad.parquet").write_bytes(content)
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": GOOD + 2}
    (problem,) = summary.problems
    assert (problem.source, problem.what) == ("bad.parquet", "rows")
    assert problem.sentence.startswith("rows 8 to 15 cannot be read")


def test_the_same_surface_in_neighbouring_files_is_one_and_said(folder: Path, job: Job, make_quotes: Make) -> None:
    make_quotes([0, 1]).to_csv(folder / "a copy.csv", index=False)
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": GOOD}
    assert {(problem.what, problem.source) for problem in summary.problems} == {("duplicate", "a copy.csv, a.csv")}
    assert len(summary.problems) == 2
    assert summary.left_out == {"duplicate": 14, "strike not positive": GOOD + 2}


def test_mixed_currencies_are_said(folder: Path, job: Job, tmp_path: Path, make_quotes: Make) -> None:
    make_quotes([3], currency_of_price=["coin", "quote"] * 4).to_csv(folder / "bad.csv", index=False)
    make_quotes([4], currency_of_price="EUR").to_csv(folder / "euro.csv", index=False)
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": GOOD, "MIXED_CURRENCIES": 1, "NO_QUOTES": 1}
    assert [(problem.source, problem.what) for problem in summary.problems] == [
        ("bad.csv", "currencies"), ("euro.csv", "rows"),
    ]  # fmt: skip
    rows = pd.read_parquet(tmp_path / "out").set_index("outcome")
    assert "in several currencies (coin, quote)" in str(rows.loc["MIXED_CURRENCIES", "status"])
    assert "8 unreadable value" in str(rows.loc["NO_QUOTES", "status"])


def test_input_without_a_single_row_is_an_empty_dataset(job: Job, tmp_path: Path, make_quotes: Make) -> None:
    path = tmp_path / "none.csv"
    make_quotes([0])[:0].to_csv(path, index=False)
    summary = job(path)
    assert (summary.surfaces, summary.complete) == (0, True)
    assert pd.read_parquet(tmp_path / "out").empty


def test_what_cannot_be_opened_is_said_and_left_out(
    folder: Path, job: Job, make_quotes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "link.csv").symlink_to(folder / "nowhere.csv")
    (folder / "locked").mkdir()
    make_quotes([3]).to_csv(folder / "locked" / "b.csv", index=False)
    os.mkfifo(folder / "pipe.csv")  # would be waited for
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if isinstance(path, Path) and path.name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(source_module.os, "scandir", refusing)
    summary = job(folder)
    assert summary.outcomes == {"CONVERGED": GOOD}
    assert [(problem.source, problem.what) for problem in summary.problems] == [
        ("link.csv", "file"),
        ("locked", "file"),
    ]
    assert not summary.complete


def test_a_full_disk_ends_the_job_and_what_is_written_stays(
    job: Job, tmp_path: Path, make_quotes: Make, monkeypatch: pytest.MonkeyPatch, contents: Callable[[Path], object]
) -> None:
    source = tmp_path / "in.csv"
    make_quotes(range(12)).to_csv(source, index=False)
    job(source, tmp_path / "whole")
    write, written = pq.write_table, []

    def full(table: pa.Table, path: Path, **options: Any) -> None:
        if len(written) == 2:
            path.write_bytes(b"PAR1 and then")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        write(table, path, **options)

    monkeypatch.setattr(part_file.pq, "write_table", full)
    with pytest.raises(BulkError, match="No space left on device; 2 parts are kept"):
        job(source)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "out").glob("**/*.parquet*")) == [
        "part-000000.parquet", "part-000001.parquet",
    ]  # fmt: skip
    assert job(source).resumed == 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_file_that_may_not_grow_ends_the_job_in_earnest(tmp_path: Path, make_quotes: Make) -> None:
    """The system refuses to write on, as on a full disk, in the middle of a part."""
    pytest.importorskip("resource")
    source, out = tmp_path / "in.parquet", tmp_path / "out"
    make_quotes(range(40)).to_parquet(source, index=False)

    code = (
        "import resource, runpy, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000)); runpy.run_module('jaxcal', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "bulk", str(source), str(out), "--model", "black-scholes"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 2
    assert re.search(r"cannot be written to: .*File too large; 0 parts are kept", ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path for path in out.rglob("*.parquet*") if path.is_file()] == []


def test_a_folder_that_cannot_be_made_or_written_is_a_sentence(
    job: Job, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BulkError, match="cannot be written to"):
        job(folder, tmp_path / "file" / "out")

    opened = Path.open

    def refuse(path: Path, *options: Any, **more: Any) -> Any:
        if path.is_relative_to(tmp_path / "out"):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, *options, **more)

    monkeypatch.setattr(store.Path, "open", refuse)
    with pytest.raises(BulkError, match="cannot be written to: Read-only file system"):
        job(folder, tmp_path / "out")


def test_venues_are_checked(job: Job, folder: Path) -> None:
    with pytest.raises(BulkError, match="venue 'nasdaq' is not known"):
        job(folder, venue="nasdaq")
    summary = job(folder, venue="deribit")
    assert summary.surfaces == 0
    assert [problem.what for problem in summary.problems] == ["file", "file"]


def test_problems_are_sentences_of_one_line(folder: Path, job: Job) -> None:
    (folder / "bad.csv").write_bytes(np.random.default_rng(0).bytes(2000))
    for problem in job(folder).problems:
        assert isinstance(problem, Problem)
        assert "\n" not in str(problem)
