"""Bad input: a sentence for the whole table, or a reason for the row while what is good is still used."""

import time

import numpy as np
import pandas as pd
import pytest

from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.market.surface import Surface, surfaces_from_quotes
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.read_quotes import read_quotes


@pytest.mark.parametrize(
    ("column", "value", "verdict", "words"),
    [
        ("strike", -80.0, "strike not positive", "strike -80.0 must be positive"),
        ("strike", 0.0, "strike not positive", "strike 0.0 must be positive"),
        ("expiry", -0.1, "expired", "expired 36.5 days"),
        ("bid", 50.0, "crossed", "bid 50.0 is above ask"),
        ("bid", np.nan, "one-sided", "no bid"),
        ("ask", np.nan, "one-sided", "no ask"),
        ("strike", np.nan, "missing value", "strike is missing"),
        ("ask", "n.a.", "not a number", "ask 'n.a.' is not a number"),
        ("expiry", "whenever", "not a number", "expiry 'whenever' is not a number"),
    ],
)
def test_bad_row_is_named_and_the_rest_is_used(make_chain, column, value, verdict, words):
    chain = make_chain()
    good = Surface.from_quotes(chain)
    row = int(np.asarray(good.row)[1, 2])
    chain[column] = chain[column].astype(object)
    chain.loc[row, column] = value
    report = inspect_quotes(chain)
    assert report.table["verdict"][row] == verdict
    assert report.table["reason"][row].startswith(f"row {row}: ")
    assert words in report.table["reason"][row]
    surface = Surface.from_quotes(report)
    assert row not in np.asarray(surface.row)
    kept = np.asarray(surface.weight) > 0.0
    assert kept.sum() >= 29
    truth = chain["true_vol"].to_numpy(float)[np.asarray(surface.row)[kept]]
    assert np.asarray(surface.vol)[kept] == pytest.approx(truth, abs=1e-6)


def test_price_outside_the_bounds(make_chain):
    chain = make_chain().assign(forward=lambda table: table["true_forward"], rate=0.03)
    row = int(np.flatnonzero((chain["option_type"] == "C") & (chain["strike"] == 80.0) & (chain["expiry"] == 0.5))[0])
    chain.loc[row, ["bid", "ask"]] = [15.0, 15.1]  # below intrinsic value
    chain.loc[row + 1, ["bid", "ask"]] = [81.0, 82.0]  # the put, above its strike
    table = inspect_quotes(chain).table
    assert table["verdict"][row] == table["verdict"][row + 1] == "outside no-arbitrage bounds"
    assert "bounds (21.0" in table["reason"][row]
    assert "bounds (0, 80)" in table["reason"][row + 1]


@pytest.mark.parametrize("column", ["expiry", "strike", "option_type"])
def test_missing_column(make_chain, column):
    with pytest.raises(QuoteError, match=f"column {column} is missing: add it"):
        Surface.from_quotes(make_chain().drop(columns=column))


def test_no_value_column(make_chain):
    with pytest.raises(QuoteError, match="add bid and ask, or price, or iv; columns found: expiry"):
        inspect_quotes(make_chain().drop(columns=["bid", "ask"]))


def test_missing_quote_time():
    table = pd.DataFrame({"expiry": ["2026-01-30T08:00:00Z"], "strike": 100.0, "iv": 0.2})
    with pytest.raises(QuoteError, match="column quote_time is missing"):
        inspect_quotes(table)


def test_times_that_cannot_be_read_and_bare_dates():
    good = {
        "quote_time": "2026-01-01T00:00Z",
        "expiry": "2026-07-01T08:00:00Z",
        "strike": 100.0,
        "iv": 0.2,
        "forward": 100.0,
    }
    changes = [{"expiry": "30JAN26"}, {"expiry": None}, {"quote_time": "noon"}, {"expiry": "2026-07-01"},
               {"expiry": "2026-07-02", "settlement": "PM"}]  # fmt: skip
    table = inspect_quotes(pd.DataFrame([good, *(good | change for change in changes)])).table
    assert table["verdict"].tolist() == [
        "used",
        "unreadable value",
        "missing value",
        "unreadable value",
        "unreadable value",
        "used",
    ]
    assert "expiry '30JAN26' is not an ISO 8601 time" in table["reason"][1]
    assert "expiry 2026-07-01 is a bare date: add a time of day, or a settlement of AM or PM" in table["reason"][4]
    midnight = pd.DataFrame([good]).assign(expiry=pd.to_datetime(["2026-07-01"]))
    assert "bare date" in inspect_quotes(midnight).table["reason"][0]


def test_duplicate_column(make_chain):
    chain = make_chain()
    with pytest.raises(QuoteError, match="column bid occurs twice"):
        inspect_quotes(pd.concat([chain, chain["bid"]], axis=1))


def test_duplicate_quote(make_chain):
    chain = make_chain()
    twice = inspect_quotes(pd.concat([chain, chain.iloc[[4]]], ignore_index=True)).table
    assert twice["verdict"][60] == "duplicate"
    assert twice["reason"][60] == "row 60: the same contract as row 4, which is kept"


def test_one_strike(make_chain):
    surface = Surface.from_quotes(make_chain(strikes=(100.0,)).assign(rate=0.03))
    assert surface.num_quotes == 3
    assert surface.vol.shape == (3, 8)
    used = np.asarray(surface.weight) > 0.0
    assert np.asarray(surface.vol)[used] == pytest.approx(0.2, abs=0.01)


def test_one_expiry(make_chain):
    surface = Surface.from_quotes(make_chain(expiries=(0.5,)))
    assert surface.num_quotes == 10
    assert surface.vol.shape == (1, 16)


def test_one_quote():
    surface = Surface.from_quotes(pd.DataFrame({"expiry": [0.5], "strike": 100.0, "iv": 0.2, "forward": 101.0}))
    assert surface.num_quotes == 1
    assert surface.vol.shape == (1, 8)


def test_empty_file(tmp_path):
    (tmp_path / "nothing.csv").write_text("")
    with pytest.raises(QuoteError, match="is empty"):
        read_quotes(tmp_path / "nothing.csv")
    (tmp_path / "header.csv").write_text("expiry,strike,iv\n")
    with pytest.raises(QuoteError, match="no rows, only the columns expiry, strike, iv"):
        read_quotes(tmp_path / "header.csv")
    with pytest.raises(QuoteError, match="has no rows"):
        inspect_quotes(pd.DataFrame({"expiry": [], "strike": [], "iv": []}))
    (tmp_path / "ragged.csv").write_text("expiry,strike,iv\n1,2,3\n1,2,3,4,5,6\n")
    with pytest.raises(QuoteError, match="is not a CSV table"):
        read_quotes(tmp_path / "ragged.csv")


def test_percent_volatilities_are_refused_with_the_remedy():
    quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": [22.0, 20.0, 19.0], "forward": 100.0})
    with pytest.raises(QuoteError, match="column iv: its median is 20, so it seems to be in percent: divide by 100"):
        Surface.from_quotes(quotes)


def test_unknown_option_types_everywhere(make_chain):
    with pytest.raises(QuoteError, match=r"column option_type: no row is C, P, call or put \(the first is 'X'\)"):
        Surface.from_quotes(make_chain().assign(option_type="X"))


def test_nothing_usable_counts_the_reasons(make_chain):
    chain = make_chain()
    bad = chain.assign(bid=np.where(chain["option_type"] == "C", np.nan, 1e6))
    with pytest.raises(QuoteError, match="no quote can be used: 0 of 60 quotes used; 30 crossed; 30 one-sided"):
        Surface.from_quotes(bad)
    assert surfaces_from_quotes(bad) == {}


def test_nothing_readable_at_all():
    quotes = pd.DataFrame({"quote_time": ["x", "y"], "expiry": "z", "strike": 1.0, "iv": 0.2})
    with pytest.raises(QuoteError, match="0 of 2 quotes used; 2 unreadable value"):
        Surface.from_quotes(quotes)


def test_text_in_a_csv_keeps_its_words(tmp_path):
    (tmp_path / "q.csv").write_text("expiry,strike,iv,forward\n0.5,90,0.2,100\n0.5,hundred,0.2,100\n0.5,110,0.2,100\n")
    report = inspect_quotes(read_quotes(tmp_path / "q.csv"))
    assert report.table["reason"][1] == "row 1: strike 'hundred' is not a number"
    assert Surface.from_quotes(report).num_quotes == 2


@pytest.mark.parametrize("size", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_rows_take_time_in_proportion(make_chain, size):
    chain = make_chain(expiries=tuple(np.linspace(0.05, 2.0, 10)), strikes=tuple(np.linspace(60.0, 150.0, size // 200)))
    rng = np.random.default_rng(0)
    large = pd.concat([chain] * 10, ignore_index=True)
    large["underlying"] = np.repeat([f"U{i}" for i in range(10)], len(chain))
    large["bid"] = large["bid"].where(rng.random(len(large)) > 0.1)
    large["strike"] = large["strike"].where(rng.random(len(large)) > 0.01, -1.0)
    small_time, large_time = (_seconds(large.iloc[:rows]) for rows in (size // 10, size))
    report = inspect_quotes(large)
    assert len(report.table) == size
    assert report.counts().sum() == size
    assert report.counts()["used"] > 0.35 * size
    assert large_time < 40 * small_time  # ten times the rows: no step may be quadratic


def _seconds(quotes):
    inspect_quotes(quotes)  # its own batch size may have to compile
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        inspect_quotes(quotes)
        best = min(best, time.perf_counter() - start)
    return best
