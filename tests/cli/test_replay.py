"""`jaxcal replay`: what it writes, what it says, and its exit codes."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from jaxcal import BlackScholes, Recalibrator, Surface
from jaxcal.cli import app
from jaxcal.streams.replay import replay


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def day(number: int, names: tuple[str, ...] = ("A",), vol: float = 0.2) -> pd.DataFrame:
    smile = {"expiry": 0.5, "strike": [90.0, 95.0, 100.0, 110.0], "iv": [vol + 0.01, vol + 0.003, vol, vol + 0.004]}
    at = pd.Timestamp("2026-03-02T16:00Z") + pd.Timedelta(days=number)
    return pd.concat([pd.DataFrame({**smile, "forward": 100.0, "underlying": n, "quote_time": at}) for n in names])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "series"
    path.mkdir()
    # not in the order of their times
    for number in (2, 0, 1):
        day(number, ("A", "B")).to_csv(path / f"{9 - number}.csv", index=False)
    return path


def test_a_folder_becomes_a_path_and_a_picture(folder: Path) -> None:
    result = run(folder, "--model", "black-scholes")
    assert result.exit_code == 0
    assert "A: 3 surfaces (2 UPDATED, 1 STARTED); RMSE 0.3" in result.stdout
    table = pd.read_csv("series-replay/path.csv")
    assert list(table["underlying"]) == ["A", "A", "A", "B", "B", "B"]
    assert table["quote_time"].iloc[:3].is_monotonic_increasing
    assert (table["sigma_low"] < table["sigma"]).all()
    assert Path("series-replay/path.png").stat().st_size > 10_000


def test_one_underlying_as_parquet(folder: Path) -> None:
    result = run(folder, "--model", "black-scholes", "--underlying", "B", "--format", "parquet", "--out", "there")
    assert result.exit_code == 0
    assert set(pd.read_parquet("there/path.parquet")["underlying"]) == {"B"}


def test_a_file_that_cannot_be_read_is_left_out(folder: Path) -> None:
    (folder / "bad.csv").write_text("nothing,of,use\n1,2,3\n")
    result = run(folder, "--model", "black-scholes")
    assert result.exit_code == 3
    assert "bad.csv is left out" in result.stderr
    assert len(pd.read_csv("series-replay/path.csv")) == 6


def test_a_file_without_quotes_loses_nothing(folder: Path) -> None:
    (folder / "notes.json").write_text('{"title": "of this series"}')
    result = run(folder, "--model", "black-scholes")
    assert result.exit_code == 0
    assert "notes.json is left out" in result.stderr


def test_a_fit_that_fails_is_exit_code_one(folder: Path) -> None:
    day(0, ("C",)).iloc[:1].to_csv(folder / "few.csv", index=False)  # one quote, five parameters
    result = run(folder, "--model", "heston", "--underlying", "C")
    assert result.exit_code == 1
    assert pd.read_csv("series-replay/path.csv")["outcome"].tolist() == ["TOO_FEW_QUOTES"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere"),
        (["series", "--underlying", "X"], "there is no underlying 'X', only A, B"),
        (["series", "--memory", "0"], "memory is 0.0"),
        (["series", "--model", "svi"], "flat models"),
        (["series", "--loss-scale", "1"], "the linear loss has no scale"),
        (["timeless"], "has no time"),
        (["empty"], "no surface can be used"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    for name, drop in (("timeless", ["quote_time"]), ("empty", [])):
        Path(name).mkdir()
        table = day(0).drop(columns=drop)
        (table if drop else table.assign(iv=-1.0)).to_csv(f"{name}/quotes.csv", index=False)
    result = run(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_interrupt_keeps_what_is_fitted(folder: Path) -> None:
    for number in range(3, 60):
        day(number).to_csv(folder / f"more-{number}.csv", index=False)
    command = [sys.executable, "-m", "jaxcal", "replay", str(folder), "--model", "black-scholes"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "63 surfaces" in process.stdout.readline()  # all is read
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopping when the fit at work is done" in errors
    assert "Traceback" not in errors
    if "nothing is written" not in errors:  # a slow machine had not begun
        table = pd.read_csv("series-replay/path.csv")
        assert 0 < len(table) < 63
        assert f"Interrupted: {len(table)} of 63 surfaces were fitted." in errors


def test_a_stop_ends_the_path_after_the_fit_at_work() -> None:
    class SetAfterOne(threading.Event):
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 1

    surface = Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
    days = pd.date_range("2026-03-02T16:00Z", periods=3)

    table = replay(Recalibrator(BlackScholes), {("X", day): surface for day in days}, stop=SetAfterOne())
    assert table["quote_time"].tolist() == [days[0]]
