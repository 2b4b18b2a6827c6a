"""`--profile` and `--rate` of the commands that fit: what they change in which quotes are used."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from jaxcal.cli import app
from jaxcal.market.american import american_price

STRIKES = np.arange(80.0, 121.0, 2.0)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def smile() -> Path:
    """Volatilities of 20 %, of which one is far off."""
    table = pd.DataFrame({"expiry": 0.5, "strike": STRIKES, "iv": 0.2, "forward": 100.0, "underlying": "A"})
    table["quote_time"] = "2026-03-02T16:00Z"
    table.loc[8, "iv"] = 0.4
    table.to_csv("smile.csv", index=False)
    return Path("smile.csv")


@pytest.fixture
def american() -> Path:
    """Prices of American options of volatility 20 % at a rate of 5 %."""
    halves = []
    for is_call in (True, False):
        price = np.asarray(american_price(0.2, STRIKES, 0.5, spot=100.0, rate=0.05, is_call=is_call))
        sides = {"bid": price - 0.01, "ask": price + 0.01, "option_type": "C" if is_call else "P"}
        halves.append(pd.DataFrame({"expiry": 0.5, "strike": STRIKES, "spot": 100.0, "exercise": "A", **sides}))
    pd.concat(halves).assign(underlying="A", quote_time="2026-03-02T16:00Z").to_csv("american.csv", index=False)
    return Path("american.csv")


def test_a_profile_leaves_out_what_neighbours_contradict(smile: Path) -> None:
    assert "21 of 21 quotes used" in run("calibrate", smile, "--model", "black-scholes").stdout
    for command in (["calibrate", "--model", "black-scholes"], ["compare", "--models", "black-scholes"]):
        result = run(command[0], smile, *command[1:], "--profile", "index")
        assert result.exit_code == 0
        assert "20 of 21 quotes used; 1 butterfly outlier" in result.stdout
    assert run("calibrate", smile, "--profile", "bonds").exit_code == 2


def test_a_profile_counts_in_a_replay_and_in_bulk(smile: Path) -> None:
    for options, used in (((), 21), (("--profile", "crypto"), 20)):
        out = Path(f"out{used}")
        assert run("replay", smile, "--model", "black-scholes", "--out", out / "replay", *options).exit_code == 0
        assert pd.read_csv(out / "replay" / "path.csv")["num_quotes"].tolist() == [used]
        result = run("bulk", smile, out / "bulk", "--model", "black-scholes", *options)
        assert result.exit_code == 0
        assert f"{used} quotes used" in result.stdout or used == 21
        assert pd.read_parquet(out / "bulk")["num_quotes"].tolist() == [used]


def test_own_thresholds_take_the_place_of_a_profile_s(smile: Path) -> None:
    result = run("bulk", smile, "out", "--model", "black-scholes", "--profile", "index", "--min-expiry", "0.6")
    assert result.exit_code == 1
    assert "too short" in pd.read_parquet("out")["status"].iloc[0]


def test_american_quotes_need_a_rate(american: Path) -> None:
    result = run("calibrate", american, "--model", "black-scholes")
    assert result.exit_code == 2
    assert "rate" in result.stderr
    result = run("calibrate", american, "--model", "black-scholes", "--rate", 0.05)
    assert result.exit_code == 0
    assert "early exercise taken out of" in result.stdout
    fitted = json.loads(Path("american-fit/parameters.json").read_text())["parameters"]["sigma"]
    assert fitted == pytest.approx(0.2, abs=1e-4)
    result = run("bulk", american, "out", "--model", "black-scholes", "--rate", 0.05)
    assert result.exit_code == 0
    assert pd.read_parquet("out")["sigma"].tolist() == pytest.approx([0.2], abs=1e-4)
    assert run("calibrate", american, "--rate", 5).exit_code == 2  # per cent
