"""`--spec FILE` of the commands: what the file says is what is done, and what it cannot say is said."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import jaxcal as jc
from jaxcal.cli import app

SPEC = """
model = "black-scholes"
[bounds]
sigma = [0.05, 0.15]
[cleaning]
profile = "plain"
min_expiry = 0.6
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = {"expiry": [0.5, 0.5, 1.0, 1.0], "strike": [90.0, 110.0, 100.0, 110.0], "iv": [0.21, 0.2, 0.2, 0.2]}
    pd.DataFrame(table | {"forward": 100.0}).to_csv("chain.csv", index=False)
    Path("narrow.toml").write_text(SPEC, encoding="utf-8")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def fitted(folder: str = "chain-fit") -> dict:
    return json.loads(Path(folder, "parameters.json").read_text(encoding="utf-8"))


def test_calibrate_does_what_the_file_says_and_its_result_can_be_asked_again() -> None:
    assert run("calibrate", "chain.csv", "--spec", "narrow.toml").exit_code == 0
    first = fitted()
    assert first["parameters"]["sigma"] == pytest.approx(0.15)
    assert first["quotes"]["used"] == 2
    again = run("calibrate", "chain.csv", "--spec", "chain-fit/parameters.json", "--out", "again")
    assert again.exit_code == 0
    assert {**fitted("again"), "source": 0} == {**first, "source": 0}  # the digest too
    assert jc.load("again").spec == jc.load("chain-fit").spec


def test_thresholds_of_the_command_come_before_those_of_the_file() -> None:
    run("calibrate", "chain.csv", "--spec", "narrow.toml", "--min-expiry", "0.1")
    assert fitted()["quotes"]["used"] == 4
    assert jc.load("chain-fit").spec.rules.min_expiry == 0.1


def test_compare_takes_several() -> None:
    Path("wide.toml").write_text(SPEC.replace("0.15", "1.0"), encoding="utf-8")
    result = run("compare", "chain.csv", "--spec", "narrow.toml", "--spec", "wide.toml")
    assert result.exit_code == 0
    table = pd.read_csv("chain-comparison/comparison.csv")
    assert table["model"].tolist() == ["narrow", "wide"]
    assert table["rmse_points"][0] > table["rmse_points"][1]
    Path("other.toml").write_text(SPEC.replace("0.6", "0.1"), encoding="utf-8")
    result = run("compare", "chain.csv", "--spec", "narrow.toml", "--spec", "other.toml")
    assert result.exit_code == 2
    assert "several rules of cleaning" in result.output


def test_replay_and_bulk_take_one() -> None:
    quotes = pd.read_csv("chain.csv").assign(underlying="A", quote_time="2026-01-05T16:00Z")
    Path("days").mkdir()
    quotes.to_csv("days/a.csv", index=False)
    assert run("replay", "days", "--spec", "narrow.toml").exit_code == 0
    path = pd.read_csv("days-replay/path.csv")
    assert path["sigma"][0] == pytest.approx(0.15)
    assert path["num_quotes"][0] == 2
    assert run("bulk", "days", "fits", "--spec", "narrow.toml").exit_code == 0
    fits = pd.read_parquet("fits")
    assert fits["sigma"][0] == pytest.approx(0.15)
    assert fits["num_quotes"][0] == 2
    other = run("bulk", "days", "fits", "--model", "black-scholes")
    assert other.exit_code == 2
    assert "other settings" in other.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--spec", "narrow.toml", "--model", "heston"), "--model and --spec: the file says that; give one of the two"),
        (("--spec", "narrow.toml", "--loss", "huber"), "--loss and --spec: the file says that"),
        (("--spec", "nothing.toml"), "--spec: nothing.toml cannot be read: No such file"),
        (("--spec", "chain.csv"), "this is not JSON"),
        (("--spec", "bad.toml"), "--spec: bad.toml: a calibration spec has no 'los'"),
        (("--spec", "."), "cannot be read"),
    ],
)
def test_what_the_file_cannot_say_is_said(arguments: tuple[str, ...], sentence: str) -> None:
    Path("bad.toml").write_text('model = "heston"\nlos = "huber"', encoding="utf-8")
    result = run("calibrate", "chain.csv", *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


def test_live_refuses_a_clock() -> None:
    Path("clock.toml").write_text('model = "heston"\n[clock]\nweekend = 0.5', encoding="utf-8")
    result = run("live", "deribit", "--spec", "clock.toml")
    assert result.exit_code == 2
    assert "take clock out of the file" in result.output
