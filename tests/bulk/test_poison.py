"""One poisoned surface, row or file: a problem with the name of the exception; everything else is done, again too."""

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jaxcal.bulk.input import cleaned_partition as pack
from jaxcal.bulk.input import file_chunks as table_file
from jaxcal.bulk.input import row_blocks as block
from jaxcal.bulk.input.input_problem import BulkError, OutOfMemoryError, Problem, told
from jaxcal.bulk.output import fitted_partition as result
from jaxcal.bulk.output.partition_files import read_dataset
from jaxcal.bulk.summary import Summary
from jaxcal.cli import app
from tests.bulk.engines.test_stage import Stages

Make = Callable[..., pd.DataFrame]
Job = Callable[..., Summary]
Contents = Callable[[Path], dict[str, object]]
HUGE = "9" * 400


@pytest.fixture
def folder(tmp_path: Path, make_quotes: Make) -> Path:
    """Five good surfaces, in a file before and one behind the poisoned one."""
    path = tmp_path / "in"
    path.mkdir()
    make_quotes(range(3)).to_csv(path / "a.csv", index=False)
    make_quotes([3, 4]).to_csv(path / "z.csv", index=False)
    return path


COLUMNS = ["underlying", "quote_time", "expiry", "strike", "iv", "forward"]


@pytest.mark.parametrize(
    ("engine", "column"),
    [
        *[("local", column) for column in COLUMNS],
        # the engines share what reads a cell
        *[pytest.param("stages", column, marks=[pytest.mark.slow] * (column != "strike")) for column in COLUMNS],
    ],
)
def test_an_integer_of_any_length_in_any_cell(
    column: str, engine: str, folder: Path, job: Job, tmp_path: Path, make_quotes: Make, contents: Contents
) -> None:
    """As text in CSV, packed CSV, parquet, and as a number of JSON."""
    quotes = make_quotes([5, 6]).astype(object)
    quotes.loc[3, column] = HUGE
    quotes.to_csv(folder / "m.csv", index=False)
    quotes.assign(underlying="packed").to_csv(folder / "n.csv.gz", index=False)
    quotes.astype(str).assign(note="texts").to_parquet(folder / "o.parquet", index=False)
    entry = {"instrument_name": "BTC-27JUN25-100000-C", "mark_iv": 41.0, "underlying_price": 1e5}
    entries = [{**entry, "creation_timestamp": 1749938299495}, {**entry, "mark_iv": 1}]
    (folder / "p.json").write_text(json.dumps(entries).replace('"mark_iv": 1', f'"mark_iv": {HUGE}'))
    (folder / "q.json").write_text(f"[{HUGE * 20}]")
    options: dict[str, Any] = {} if engine == "local" else {"engine": Stages()}
    summary = job(folder, **options)
    assert summary.outcomes["CONVERGED"] >= 5
    assert not summary.complete
    rows = read_dataset(tmp_path / "out").to_pandas()
    good = rows[rows["sources"].map(lambda names: list(names) in (["a.csv"], ["z.csv"]))]
    assert good["outcome"].tolist() == ["CONVERGED"] * 5
    assert all(len(str(problem)) < 1_000 for problem in summary.problems)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "part-000001.parquet").unlink()
    again = job(folder, **options)
    assert (again.resumed, again.problems) == (len(list((tmp_path / "out").glob("*.parquet"))) - 1, summary.problems)
    assert contents(tmp_path / "out") == before


def test_it_exits_with_3(folder: Path, tmp_path: Path, make_quotes: Make) -> None:
    quotes = make_quotes([5, 6]).astype(object)
    quotes.loc[3, "strike"] = HUGE
    quotes.to_csv(folder / "m.csv", index=False)
    arguments = ["bulk", str(folder), str(tmp_path / "out"), "--model", "black-scholes"]
    for _ in range(2):
        ended = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert ended.exit_code == 3
        assert "7 surfaces: 7 converged" in ended.stdout


def failing_at(strike: float, whole: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    def fail(table: pd.DataFrame, **options: Any) -> Any:
        if (table["strike"] == strike).any():
            raise error
        return whole(table, **options)

    return fail


@pytest.mark.parametrize("error", [OverflowError("int too large"), RecursionError(), ZeroDivisionError("no\n\nway")])
def test_an_exception_of_cleaning_is_a_problem_of_its_surface(
    error: Exception, folder: Path, job: Job, tmp_path: Path, make_quotes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotes = make_quotes(range(5, 12))
    quotes.loc[17, "strike"] = 1e9
    quotes.to_csv(folder / "m.csv", index=False)
    monkeypatch.setattr(pack, "inspect_quotes", failing_at(1e9, pack.inspect_quotes, error))
    summary = job(folder, part_size=20)
    assert summary.outcomes == {"CONVERGED": 11, "ERROR": 1}
    (problem,) = summary.problems
    assert (problem.source, problem.what, problem.lost) == ("m.csv", "error", True)
    assert problem.sentence == f"U2 2026-03-11T14:31:00+00:00: Not fitted: {told(error)}."
    row = read_dataset(tmp_path / "out").to_pandas().set_index("outcome").loc["ERROR"]
    assert (row["num_quotes"], dict(row["left_out"]), row["converged"]) == (0, {"unreadable value": 8}, False)


@pytest.mark.parametrize("name", ["surfaces_from_quotes", "_Cleaning._of_one_currency", "_count"])
def test_so_is_one_of_packing(name: str, folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    owner: Any = pack._Cleaning if "." in name else pack
    name = name.rpartition(".")[2]
    whole = getattr(owner, name)
    calls = []

    def fail(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) in (1, 3):  # the batch, then the second half of it
            raise KeyError("unforeseen")
        return whole(*arguments)

    monkeypatch.setattr(owner, name, fail)
    summary = job(folder, part_size=2)
    assert summary.outcomes == {"CONVERGED": 4, "ERROR": 1}
    assert [problem.sentence.partition(": ")[2] for problem in summary.problems] == [
        "Not fitted: KeyError: 'unforeseen'."
    ]


def test_so_is_one_of_fitting(folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = result.calibrate_many

    def fail(model: Any, surfaces: dict, **options: Any) -> Any:
        if 1 in surfaces:
            raise FloatingPointError("unforeseen")
        return whole(model, surfaces, **options)

    monkeypatch.setattr(result, "calibrate_many", fail)
    summary = job(folder, part_size=20, quotes=True)
    assert summary.outcomes == {"CONVERGED": 4, "ERROR": 1}
    assert [problem.what for problem in summary.problems] == ["error"]
    assert "FloatingPointError: unforeseen" in summary.problems[0].sentence


@pytest.mark.parametrize("bad", [[3], [0, 15], [0, 1, 2, 3, 4, 5, 6, 7], list(range(16))])
def test_an_exception_of_reading_is_a_problem_of_its_rows(
    bad: list[int], folder: Path, job: Job, make_quotes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of a venue that some rows are too much for; all of them: the file's."""
    quotes = make_quotes([5, 6])
    quotes["forward"] = np.where(np.isin(range(16), bad), 1e300, 100.0)
    quotes.to_csv(folder / "m.csv", index=False)
    whole = block.identify

    def fail(table: pd.DataFrame) -> Any:
        if (table["forward"] == 1e300).any():
            raise OverflowError("too much")
        return whole(table)

    monkeypatch.setattr(block, "identify", fail)
    summary = job(folder)
    found = "it is not a table of the tidy layout: OverflowError: too much"
    (problem,) = summary.problems
    if len(bad) == 16:
        assert (problem.what, problem.sentence) == ("file", found)
        assert summary.outcomes == {"CONVERGED": 5}
        return
    count = "1 row is" if len(bad) == 1 else f"{len(bad)} rows are"
    assert (problem.source, problem.what) == ("m.csv", "rows")
    assert problem.sentence == f"{count} left out, the first of them row {bad[0]}: {found}"
    assert summary.outcomes == {"CONVERGED": 6 if len(bad) == 8 else 7}
    assert summary.quotes == 5 * 7 + 14 - len(set(bad) - {7, 15})


@pytest.mark.parametrize("reader", ["_csv", "_parquet", "read_venue_file"])
def test_an_exception_of_a_reader_is_a_problem_of_its_file(
    reader: str, folder: Path, job: Job, make_quotes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_quotes([5]).to_parquet(folder / "m.parquet")
    (folder / "n.json").write_text("[]")
    whole = getattr(table_file, reader)
    names = {"_csv": "z.csv", "_parquet": "m.parquet", "read_venue_file": "n.json"}

    def fail(file: Any) -> Any:
        if getattr(file, "name", file) == names[reader]:
            raise RecursionError("unforeseen")
        return whole(file)

    monkeypatch.setattr(table_file, reader, fail)
    found = {str(problem) for problem in job(folder).problems}
    assert f"{names[reader]}: the file cannot be read: RecursionError: unforeseen" in found


@pytest.mark.parametrize("engine", ["local", "stages"])
@pytest.mark.parametrize("where", [(block, "identify"), (pack, "inspect_quotes"), (result, "calibrate_many")])
def test_want_of_memory_ends_the_job(
    where: tuple[Any, str], engine: str, folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError("malloc of size 1e12 failed")

    monkeypatch.setattr(*where, fail)
    with pytest.raises(BulkError, match="malloc of size 1e12 failed") as raised:
        job(folder, **({} if engine == "local" else {"engine": Stages()}))
    if engine == "local":
        assert isinstance(raised.value, OutOfMemoryError)
        assert "0 parts are kept: give the command again where there is more" in str(raised.value)


def test_an_interrupt_is_no_problem_of_a_surface(folder: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(pack, "inspect_quotes", fail)
    with pytest.raises(KeyboardInterrupt):
        job(folder)


def test_names_that_are_no_letters_are_written_out(folder: Path, job: Job, tmp_path: Path, make_quotes: Make) -> None:
    """A file whose name is no UTF-8, half a letter in JSON, and times that no calendar has."""
    quotes = make_quotes([5])
    try:
        quotes.to_csv(folder / "b\udcff.csv", index=False)
    except OSError:
        pytest.skip("the file system takes only names in UTF-8")
    entry = {"instrument_name": "B\ud800-27JUN25-100000-C", "mark_iv": 41.0, "underlying_price": 1e5}
    (folder / "c.json").write_text(json.dumps([{**entry, "creation_timestamp": 1749938299495}]))
    far = quotes.assign(quote_time=pa.array([2**60] * len(quotes), pa.timestamp("us", "UTC")).to_pandas())
    pq.write_table(pa.Table.from_pandas(far), folder / "d.parquet")
    summary = job(folder, quotes=True)
    assert summary.outcomes["CONVERGED"] == 6
    assert {problem.source for problem in summary.problems} >= {"d.parquet"}
    names = {name for names in read_dataset(tmp_path / "out").to_pandas()["sources"] for name in names}
    assert "b\\udcff.csv" in names
    assert job(folder, quotes=True).resumed == 2


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_and_damage_never_end_a_job(
    seed: int, folder: Path, job: Job, tmp_path: Path, make_quotes: Make
) -> None:
    rng = np.random.default_rng(seed)
    quotes = make_quotes([5, 6])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(quotes), sink, row_group_size=5)
    contents = {
        "csv": quotes.to_csv(index=False).encode(),
        "csv.gz": gzip.compress(quotes.to_csv(index=False).encode()),
        "parquet": sink.getvalue().to_pybytes(),
        "json": json.dumps(quotes.astype(str).to_dict("records")).encode(),
        "txt": rng.bytes(500),
    }
    for ending, content in contents.items():
        for i in range(12):
            changed = bytearray(content)
            for place in rng.integers(0, len(content), 1 + i % 4):
                changed[place] = rng.integers(0, 256)
            cut = rng.integers(0, len(content)) if i % 3 == 0 else None
            (folder / f"m{i}.{ending}").write_bytes(bytes(changed[:cut]))
    summary = job(folder, stop=threading.Event())
    rows = read_dataset(tmp_path / "out").to_pandas()
    good = rows["sources"].map(lambda names: bool({"a.csv", "z.csv"} & set(names)))
    assert good.sum() == 5
    assert summary.problems
    for problem in summary.problems:
        assert isinstance(problem, Problem)
        assert len(problem.sentence) <= 450
        assert "\n" not in str(problem)


def test_a_problem_can_be_written_whatever_it_quotes() -> None:
    problem = Problem("a" * 1_000, "rows", "half a letter \ud800\nand " + "b" * 1_000)
    assert (len(problem.source), len(problem.sentence)) == (450, 450)
    assert problem.sentence.startswith("half a letter \\ud800 and b")
    str(problem).encode()
