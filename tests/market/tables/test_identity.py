"""What a table is about where `underlying`, `quote_time` and `exercise` do not say: used and said, or refused."""

import numpy as np
import pandas as pd
import pytest

from jaxcal.dates.us_roots import exercise_known, exercise_of, root_in, settlement_of
from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.cleaning.quote_report import inspect_quotes as inspect_by_profile
from jaxcal.market.surface import surfaces_from_quotes
from jaxcal.market.tables.identity import identify
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.read_quotes import read_quotes


def inspect_quotes(quotes: pd.DataFrame) -> QuoteReport:
    """By rules that compare no neighbours: chains of seven strikes have few."""
    return inspect_by_profile(quotes, rules=CleaningRules())


INDEX_NAMES = [
    "SPX",
    "^SPX",
    "$SPX",
    "$SPX.X",
    ".SPX",
    "I:SPX",
    "SPX Index",
    "SPX.XO",
    "_SPX",
    "spx",
    "^GSPC",
    "CBOE:SPX",
    "SPX.IDX",
    "SPX:IND",
    "@SPX",
]


def two_chains(make_chain, column, names):
    """Two chains at forwards of 100 and 110, told apart by the names in this column."""
    tables = [
        make_chain(expiries=(0.25,), spot=spot, rate=0.0, dividend_yield=0.0, strikes=tuple(np.linspace(85, 130, 10)))
        for spot in (100.0, 110.0)
    ]
    return pd.concat(
        [table.assign(**{column: name}) for table, name in zip(tables, names, strict=True)], ignore_index=True
    )


def vols_are_right(report):
    used = report.table[report.table["verdict"].eq("used")]
    assert len(used) == 20
    assert used["vol"].to_numpy(float) == pytest.approx(used["true_vol"].to_numpy(float), abs=1e-5)


@pytest.mark.parametrize("column", ["ticker", "symbol", "root", "act_symbol", "Underlying_Symbol"])
def test_names_in_another_column_are_used_and_said(make_chain, column):
    report = inspect_quotes(two_chains(make_chain, column, ["AAA", "BBB"]))
    assert [key[0] for key in report.keys] == ["AAA", "BBB"]
    vols_are_right(report)
    assert f"underlying from column {column} (2 names)" in report.summary()
    assert "taken as European" in report.summary()


@pytest.mark.parametrize("column", ["contractSymbol", "instrument_name", "symbol"])
def test_symbols_of_contracts_say_their_underlying(make_chain, column):
    table = two_chains(make_chain, column, ["", ""])
    coins = np.where(table.index < 20, "BTC", "ETH_USDC")
    table[column] = [
        f"{coin}-27JUN25-{strike:.0f}-{side}"
        for coin, strike, side in zip(coins, table["strike"], table["option_type"], strict=True)
    ]
    report = inspect_quotes(table)
    assert [key[0] for key in report.keys] == ["BTC", "ETH_USDC"]
    vols_are_right(report)


@pytest.mark.parametrize(
    ("symbol", "underlying", "exercise"),
    [
        (".{}260619{}{:.0f}", "SPY", "A"),
        ("{}_061926{}{:.0f}", "SPY", "A"),
        ("{} US 06/19/26 {}{:.0f} Equity", "SPY", "A"),
        ("{} 6/19/26 {}{:.1f}", "QQQ", "A"),
        ("{} US 06/19/26 {}{:.0f} Index", "SPX", "E"),
        (".{}260619{}{:.0f}", "SPXW", "E"),
    ],
)
def test_symbols_of_brokers_say_their_underlying_and_exercise(make_chain, symbol, underlying, exercise):
    table = make_chain(expiries=(0.25,), spot=100.0, rate=0.0, dividend_yield=0.0)
    table["symbol"] = [
        symbol.format(underlying, side, strike)
        for side, strike in zip(table["option_type"], table["strike"], strict=True)
    ]
    found, _ = identify(table.drop(columns=["underlying", "exercise"], errors="ignore"))
    assert set(found["underlying"]) == {underlying.removesuffix("W")}
    assert set(found["exercise"]) == {exercise}


def test_codes_of_contracts_that_are_not_known_are_no_names(make_chain):
    chain = make_chain()
    report = inspect_quotes(chain.assign(symbol=[f"ODX{i:04d}" for i in range(len(chain))]))
    assert report.keys == ((None, None),)
    assert report.notes == ()


@pytest.mark.parametrize(
    ("column", "times"),
    [
        ("date", ["2026-05-01", "2026-05-04"]),
        ("trade_date", [20260501, 20260504]),
        ("quote_date", pd.to_datetime(["2026-05-01", "2026-05-04"])),
        ("timestamp", ["2026-05-01T20:00Z", "2026-05-04T20:00Z"]),
        ("Quote Date", ["2026-05-01 00:00:00", "2026-05-04 00:00:00"]),
    ],
)
def test_times_in_another_column_are_used_and_said(make_chain, column, times):
    report = inspect_quotes(two_chains(make_chain, column, times))
    assert [str(key[1])[:10] for key in report.keys] == ["2026-05-01", "2026-05-04"]
    vols_are_right(report)
    assert f"quote_time from column {column} (2 times)" in report.summary()


def test_the_columns_that_say_it_come_first(make_chain):
    table = two_chains(make_chain, "underlying", ["AAA", "BBB"]).assign(ticker="ZZZ", date="2026-05-01")
    report = inspect_quotes(table.assign(quote_time="2026-05-04T20:00Z"))
    assert [key[0] for key in report.keys] == ["AAA", "BBB"]
    assert {str(key[1])[:10] for key in report.keys} == {"2026-05-04"}
    assert not any("from column" in note for note in report.notes)


@pytest.mark.parametrize("prices", [[2978.576, 2979.1], ["2978.5", "2979"], [700, 701]])
def test_a_numeric_underlying_is_refused(make_chain, prices):
    with pytest.raises(
        QuoteError, match=r"column underlying holds numbers.*call prices of the underlying spot or forward"
    ):
        inspect_quotes(two_chains(make_chain, "underlying", prices))


@pytest.mark.parametrize("name", INDEX_NAMES)
def test_an_index_is_an_index_however_it_is_written(name):
    assert root_in(name) == "SPX"
    assert exercise_known(name) == "E"
    assert exercise_of(pd.Series([name])).tolist() == ["E"]
    third_friday = np.array(["2026-01-16"], "datetime64[D]")
    assert settlement_of(pd.Series([name]), third_friday, by_root=False).tolist() == ["AM"]


@pytest.mark.parametrize(
    ("name", "exercise"),
    [
        ("SPY", "A"), ("qqq", "A"), ("IWM US Equity", "A"), ("NYSEARCA:GLD", "A"), ("AAPL", "A"), ("BRK/B", "A"),
        ("F     260619C00012000", "A"), ("O:SPY251219C00650000", "A"), ("OEX", "A"), ("^OEX", "A"),
        ("XEO", "E"), ("NDXP", "E"), ("RUTW", "E"), ("VIXW", "E"), ("MXEF", "E"), ("SX5E Index", "E"), ("I:NDX", "E"),
        ("SPXW  260619C05000000", "E"), ("BTC", ""), ("EURUSD", ""), ("AAA", ""), ("", ""),
    ],
)  # fmt: skip
def test_exercise_by_name(name, exercise):
    assert exercise_known(name) == exercise


@pytest.mark.parametrize("column", ["underlying", "ticker", "root"])
def test_a_fund_is_american_in_the_tidy_layout(make_chain, column):
    chain = make_chain().assign(**{column: "SPY"})
    report = inspect_quotes(chain)
    assert "American by the name SPY" in report.summary()
    # both of what is missing, in one sentence
    assert "to take its value out of the price add rate and spot" in report.table["reason"][0]
    assert report.table["verdict"].eq("American exercise").all()
    assert inspect_quotes(chain.assign(exercise="E")).table["verdict"].eq("used").sum() == 30
    with_both = inspect_quotes(chain.assign(rate=0.03, spot=100.0))
    assert "de-Americanised" in with_both.summary()


def test_american_by_the_symbol_beside_an_index(make_chain):
    chain = make_chain(expiries=(0.5,)).assign(underlying="F", rate=0.03, spot=100.0)
    symbols = [
        f"F     260619{side}{int(1000 * k):08d}" for side, k in zip(chain["option_type"], chain["strike"], strict=True)
    ]
    assert "American by the name F" in inspect_quotes(chain.assign(contractSymbol=symbols)).summary()
    index = chain.assign(underlying="^SPX", contractSymbol=[s.replace("F     ", "SPXW  ") for s in symbols])
    assert "American" not in inspect_quotes(index).summary()


def test_us_layout_takes_every_name_of_an_index(tmp_path, make_chain):
    chain = make_chain(expiries=(28 / 365,)).assign(expiry="2026-05-29", session_date="2026-05-01")
    for name in INDEX_NAMES:
        chain.assign(underlying=name).to_csv(tmp_path / "q.csv", index=False)
        quotes = read_quotes(tmp_path / "q.csv")
        assert set(quotes["exercise"]) == {"E"}
        (surface,) = surfaces_from_quotes(inspect_quotes(quotes)).values()
        assert float(surface.expiry[0]) == pytest.approx(28 / 365, rel=1e-12)


@pytest.mark.parametrize("times", [[1777665600000, 1777752000000], ["01/05/2026", "04/05/2026"], [46143.5, 46146.5]])
@pytest.mark.parametrize("column", ["timestamp", "date", "Quote_Date"])
def test_several_times_that_cannot_be_read_are_refused(make_chain, column, times):
    with pytest.raises(QuoteError, match=rf"column {column} has 2 times that cannot be read.*as quote_time .*or drop"):
        inspect_quotes(two_chains(make_chain, column, times))


def test_several_numeric_tickers_are_refused(make_chain):
    with pytest.raises(QuoteError, match="column ticker holds numbers, the first being 700"):
        inspect_quotes(two_chains(make_chain, "ticker", [700, 9988]))
