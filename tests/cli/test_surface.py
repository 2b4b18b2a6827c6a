"""`jaxcal surface`: what it says and writes, and its exit codes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import jaxcal as jc
from jaxcal.cli import app

STRIKES = np.array([80.0, 90.0, 100.0, 110.0, 120.0])


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["surface", *map(str, arguments)], catch_exceptions=False)


def write(name: str = "chain.csv", **columns: object) -> Path:
    iv = 0.2 + 0.001 * np.sin(np.arange(5.0))
    quotes = {"expiry": 0.5, "strike": STRIKES, "iv": iv, "bid_iv": iv - 0.004, "ask_iv": iv + 0.004, "forward": 100.0}
    table = pd.DataFrame(quotes | columns)
    table.to_csv(name, index=False)
    return Path(name)


def test_it_says_what_was_done_and_writes_one_file() -> None:
    path = write(strike=[80.0, 90.0, 100.0, 110.0, -1.0])
    result = run(path, "--models", "black-scholes", "--fee", "deribit")
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "4 of 5 quotes used; 1 strike not positive" in text
    assert "Model: BlackScholes (1 parameter): 100% of 4 quotes between bid and ask; too few could be held out." in text
    assert "Inside bid and ask: 100.0% of the quotes" in text
    assert "Arbitrage of the model: no arbitrage in" in text
    assert "chain-surface.json" in text
    record = json.loads(Path("chain-surface.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert record["source"] == "chain.csv"
    assert record["quotes"] == {"used": 4, "left_out": {"strike not positive": 1}}
    assert record["by_expiry"][0]["left_out"] == 1
    assert record["arbitrage"]["quotes_after_fees"]["fee"] == {"rate": 0.0003, "cap": 0.125}
    assert record["left_out"][0]["row"] == 4
    assert jc.load("chain-surface.json").converged


def test_one_surface_of_several_and_another_file() -> None:
    pd.concat(
        [pd.read_csv(write("a.csv", underlying="A")), pd.read_csv(write("b.csv", underlying="B", iv=0.2))]
    ).to_csv("both.csv", index=False)
    refused = run("both.csv", "--models", "black-scholes")
    assert refused.exit_code == 2
    assert "2 surfaces to choose from with --underlying and --time: A, B" in " ".join(refused.stderr.split())
    result = run("both.csv", "--models", "black-scholes", "--underlying", "B", "--json", "own.json")
    assert result.exit_code == 0
    record = json.loads(Path("own.json").read_text(encoding="utf-8"))
    assert record["underlying"] == "B"
    assert record["parameters"]["sigma"] == pytest.approx(0.2)


def test_a_fit_that_does_not_take_place_is_written_and_exits_with_1() -> None:
    result = run(write(), "--models", "bates")
    assert result.exit_code == 1
    record = json.loads(Path("chain-surface.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert record["converged"] is False
    assert record["by_expiry"][0]["status"] == "Not fitted: there are fewer quotes than free parameters."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--models", "hestn"], "--models: there is no model 'hestn'"),
        (["--fee", "dear"], "--fee 'dear' is neither deribit nor a number"),
        (["--fee", "-1"], "--fee: the rate of a fee is -1.0"),
        (["--fee-cap", "0.1"], "--fee-cap: there is no fee to cap"),
        (["--fee", "deribit", "--fee-cap", "0.1"], "--fee-cap: --fee deribit has its own"),
        (["--models", "black-scholes", "--json", "no/such/folder.json"], "the file cannot be written to"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], said: str) -> None:
    result = run(write(), *options)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_file_without_quotes_is_refused() -> None:
    Path("empty.csv").write_text("", encoding="utf-8")
    for name, said in (("empty.csv", "empty.csv: "), ("none.csv", "there is no such file")):
        result = run(name)
        assert result.exit_code == 2
        assert said in result.stderr
