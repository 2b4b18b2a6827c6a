"""`jaxcal inspect`: what it prints and writes, and its exit codes."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from jaxcal.cli import app
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.venues.read_quotes import read_quotes

FILES = ["arbitrage.csv", "forwards.csv", "quotes.png", "verdicts.csv"]
STRIKES = list(range(80, 121, 2))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def chain(**columns: object) -> pd.DataFrame:
    """Volatilities of 20 %, of which one is far off and one has an impossible strike."""
    table = pd.DataFrame({"expiry": 0.5, "strike": STRIKES, "iv": 0.2, "forward": 100.0, **columns})
    table["strike"] = table["strike"].astype(float)
    table.loc[8, "iv"], table.loc[20, "strike"] = 0.4, -1.0
    return table


@pytest.fixture
def quotes() -> Path:
    path = Path("chain.csv")
    chain().to_csv(path, index=False)
    return path


def test_it_counts_and_writes(quotes: Path) -> None:
    result = run("inspect", quotes)
    assert result.exit_code == 0
    assert "1 surface, profile index: 19 of 21 quotes used; 1 butterfly outlier; 1 strike not positive" in result.stdout
    for title in ("Rows by verdict", "Worst prices", "Forwards by expiry", "Arbitrage among the quotes used"):
        assert title in result.stdout
    assert "no arbitrage in" in result.stdout
    folder = Path("chain-inspection")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    verdicts = pd.read_csv(folder / "verdicts.csv")
    assert verdicts["verdict"].value_counts().to_dict()["used"] == 19
    assert verdicts["reason"][8].startswith("row 8: its volatility 0.4 is off the smile")
    assert (folder / "quotes.png").read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(folder / "forwards.csv")["forward"].tolist() == [100.0]


def test_the_profile_can_be_chosen_and_suits_the_table_otherwise(quotes: Path) -> None:
    assert "profile equity" in run("inspect", quotes, "--profile", "equity", "--out", "there").stdout
    assert sorted(path.name for path in Path("there").iterdir()) == FILES
    chain(currency_of_price="coin", option_type="C").to_csv("coin.csv", index=False)
    assert "profile crypto" in run("inspect", "coin.csv").stdout
    assert run("inspect", quotes, "--profile", "bonds").exit_code == 2


def test_arbitrage_is_printed_and_repaired() -> None:
    table = chain()
    table.loc[8, "iv"], table.loc[12, "iv"] = 0.2, 0.207
    late = chain(expiry=1.0).assign(iv=0.13)
    pd.concat([table, late], ignore_index=True).to_csv("chain.csv", index=False)
    result = run("inspect", "chain.csv", "--repair")
    assert result.exit_code == 0
    assert "calendar spreads have negative cost at mid" in result.stdout
    assert "quotes moved, by up to" in result.stdout
    repaired = read_quotes("chain-inspection/repaired.csv")
    assert inspect_quotes(repaired).counts().to_dict() == {"used": len(repaired)}
    found = pd.read_csv("chain-inspection/arbitrage.csv")
    assert set(found["kind"]) >= {"calendar"}


def test_nothing_to_use_is_exit_code_1() -> None:
    chain(forward=-1.0).to_csv("chain.csv", index=False)
    result = run("inspect", "chain.csv")
    assert result.exit_code == 1
    assert "0 of 21 quotes used" in result.stdout
    assert sorted(path.name for path in Path("chain-inspection").iterdir()) == FILES


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "expiry,strike,iv\n", "\x00\x01\x02"])
def test_bad_input_is_one_sentence(content: str) -> None:
    Path("bad.csv").write_text(content)
    result = run("inspect", "bad.csv")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("jaxcal: bad.csv")
    assert not Path("bad-inspection").exists()


def test_what_a_file_says_does_not_steer_the_terminal() -> None:
    chain(underlying="A\x1b[31m[bold]$_").to_csv("chain.csv", index=False)
    other = chain(underlying="B")
    pd.concat([pd.read_csv("chain.csv"), other]).to_csv("chain.csv", index=False)
    result = run("inspect", "chain.csv")
    assert result.exit_code == 0
    assert "\x1b[31m" not in result.stdout


def test_absent_file_and_folder_that_cannot_be_made(quotes: Path) -> None:
    assert run("inspect", "nowhere.csv").exit_code == 2
    Path("taken").write_text("")
    result = run("inspect", quotes, "--out", "taken")
    assert result.exit_code == 2
    assert "the files cannot be written to taken" in result.stderr
