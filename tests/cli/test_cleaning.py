"""`--profile` and `--rate` of the commands that fit: what they change in which quotes are used."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from jaxcal.cli import app
from jaxcal.formulas.american import american_price

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
    assert "21 of 21 quotes used" in run("calibrate", smile, "--model", "black-scholes", "--profile", "plain").stdout
    for command in (["calibrate", "--model", "black-scholes"], ["compare", "--models", "black-scholes"], ["inspect"]):
        for options in ((), ("--profile", "index")):
            result = run(command[0], smile, *command[1:], *options)
            assert result.exit_code == 0
            first = result.stdout.splitlines()[0]
            assert "profile index: 20 of 21 quotes used; 1 butterfly outlier" in first
    assert run("calibrate", smile, "--profile", "bonds").exit_code == 2


def test_a_profile_counts_in_a_replay_and_in_bulk(smile: Path) -> None:
    for options, used, profile in (((), 20, "index"), (("--profile", "plain"), 21, "plain")):
        out = Path(f"out{used}")
        result = run("replay", smile, "--model", "black-scholes", "--out", out / "replay", *options)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[0] == f"1 surface, profile {profile}"
        assert pd.read_csv(out / "replay" / "path.csv")["num_quotes"].tolist() == [used]
        result = run("bulk", smile, out / "bulk", "--model", "black-scholes", *options)
        assert result.exit_code == 0
        assert f"{used} quotes used" in result.stdout or used == 21
        assert result.stdout.splitlines()[0] == f"Cleaned by the profile {profile}."
        table = pd.read_parquet(out / "bulk")
        assert (table["num_quotes"].tolist(), table["profile"].tolist()) == ([used], [profile])


def test_own_thresholds_take_the_place_of_a_profile_s(smile: Path) -> None:
    result = run("bulk", smile, "out", "--model", "black-scholes", "--profile", "index", "--min-expiry", "0.6")
    assert result.exit_code == 1
    assert "too short" in pd.read_parquet("out")["status"].iloc[0]


def test_every_command_has_every_threshold(smile: Path) -> None:
    for name, verdict in (
        ("--min-expiry", "too short"),
        ("--max-deviations", "too far"),
        ("--max-outlier", "butterfly outlier"),
    ):
        value = 0.6 if name == "--min-expiry" else 0.5 if name == "--max-deviations" else 1e-6
        said = run("inspect", smile, name, value, "--out", "there").stdout.splitlines()[0]
        assert f"profile index, {name[2:].replace('-', '_')} {value:g}: " in said
        assert verdict in said
        reason = pd.read_csv("there/verdicts.csv").set_index("verdict")["reason"].loc[[verdict]].iloc[0]
        assert f"{value:.6g} ({name[2:].replace('-', '_')}; option {name})" in reason
        for command in (["calibrate"], ["compare", "--models", "black-scholes"]):
            result = (
                run(*command, smile, name, value, "--model", "black-scholes")
                if command == ["calibrate"]
                else (run(*command, smile, name, value))
            )
            assert verdict in result.stdout + result.stderr
    result = run("calibrate", smile, "--max-outlier", -1)
    assert (result.exit_code, result.stderr) == (2, "jaxcal: --max-outlier -1.0 must not be negative\n")


def test_american_quotes_need_a_rate(american: Path) -> None:
    result = run("calibrate", american, "--model", "black-scholes")
    assert result.exit_code == 2
    assert "rate" in result.stderr
    result = run("calibrate", american, "--model", "black-scholes", "--rate", 0.05)
    assert result.exit_code == 0
    assert "de-Americanised" in result.stdout
    fitted = json.loads(Path("american-fit/parameters.json").read_text())["parameters"]["sigma"]
    assert fitted == pytest.approx(0.2, abs=1e-4)
    result = run("bulk", american, "out", "--model", "black-scholes", "--rate", 0.05)
    assert result.exit_code == 0
    assert pd.read_parquet("out")["sigma"].tolist() == pytest.approx([0.2], abs=1e-4)
    assert run("calibrate", american, "--rate", 5).exit_code == 2  # per cent
