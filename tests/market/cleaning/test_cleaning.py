"""Verdicts: one for every row, the most fundamental one, with a sentence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.quote_report import inspect_quotes


def judge(rows, **common):
    """Verdicts of rows that differ from a good put at strike 95 (forward 100, half a year)."""
    good = {"expiry": 0.5, "strike": 95.0, "option_type": "P", "bid": 3.0, "ask": 3.1, "forward": 100.0}
    return inspect_quotes(pd.DataFrame([good | common | row for row in rows])).table


@pytest.mark.parametrize(
    ("row", "verdict", "sentence"),
    [
        ({}, "used", ""),
        ({"strike": -5.0}, "strike not positive", "row 1: strike -5.0 must be positive"),
        ({"strike": 0.0}, "strike not positive", "row 1: strike 0.0 must be positive"),
        ({"bid": "abc"}, "not a number", "row 1: bid 'abc' is not a number"),
        ({"strike": np.inf}, "not a number", "row 1: strike inf is not finite"),
        ({"strike": np.nan}, "missing value", "row 1: strike is missing"),
        ({"forward": -1.0}, "bad carry", "row 1: forward -1.0 must be positive"),
        ({"rate": 3.0}, "bad carry", "row 1: rate 3.0 is above 100 %, so it looks like percent: divide by 100"),
        ({"expiry": -0.01}, "expired", "row 1: expired 3.65 days before the quote"),
        ({"expiry": 0.0005}, "too short", "row 1: 4.38 hours to expiry, below the 12 hours required"),
        (
            {"exercise": "A"},
            "American exercise",
            "row 1: American exercise; to take its value out of the price add rate",
        ),
        ({"bid": -1.0}, "negative price", "row 1: bid -1.0 must not be negative"),
        ({"bid": 3.2}, "crossed", "row 1: bid 3.2 is above ask 3.1"),
        ({"bid": 0.0}, "one-sided", "row 1: no bid, only an ask of 3.1"),
        ({"bid": np.nan}, "one-sided", "row 1: no bid, only an ask of 3.1"),
        ({"ask": np.nan}, "one-sided", "row 1: no ask, only a bid of 3.0"),
        ({"bid": np.nan, "ask": np.nan}, "no price", "row 1: neither bid and ask, nor price, nor iv"),
        ({"bid": 0.5, "ask": 2.0}, "wide", "row 1: bid 0.5, ask 2.0: the spread is 1.2 of the mid, above 1"),
        ({"option_type": "X"}, "unreadable value", "row 1: option_type 'X' is none of C, P, call, put"),
        ({"option_type": None}, "missing value", "row 1: option_type is missing beside a price"),
        ({"exercise": "B"}, "unreadable value", "row 1: exercise 'B' is none of e, european, a, american"),
        ({"expiry": 365.0}, "unreadable value", "row 1: expiry 365 as a number must be in years, below 100"),
        ({"bid": 94.9, "ask": 95.3}, "outside no-arbitrage bounds", "row 1: undiscounted price 95.1 is outside"),
    ],
)
def test_rule(row, verdict, sentence):
    table = judge([{"strike": 90.0, "bid": 2.0, "ask": 2.1}, row])
    assert table["verdict"].tolist() == ["used", verdict]
    assert table["reason"][1].startswith(sentence)
    assert bool(table["reason"][1]) == bool(sentence)


def test_target_is_the_mid_then_price_then_iv():
    other = {"price": 3.1, "iv": 0.3}
    none = {"bid": np.nan, "ask": np.nan, "price": np.nan, "iv": 0.3}
    rows = [other | {"ask": 3.2, "price": 5.0}, other | {"strike": 94.0, "bid": np.nan}, none | {"strike": 93.0},
            none | {"strike": 92.0, "bid": 0.0}]  # fmt: skip
    table = judge(rows)
    assert table["verdict"].eq("used").all()
    same = judge([{"bid": np.nan, "ask": np.nan, "price": 3.1}])
    assert table["vol"][0] == same["vol"][0]
    assert table["vol"][2] == table["vol"][3] == 0.3
    assert table["bid_vol"][0] < table["vol"][0] < table["ask_vol"][0]


def test_volatility_table_needs_no_option_type_and_carries_its_bid_and_ask():
    quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 110.0, 120.0], "iv": [0.2, 0.19, -0.1], "forward": 100.0})
    table = inspect_quotes(quotes.assign(bid_iv=0.18, ask_iv=[0.21, 0.2, 0.2])).table
    assert table["verdict"].tolist() == ["used", "used", "no implied volatility"]
    assert table["is_call"].tolist() == [False, True, True]
    assert table["bid_vol"].tolist()[:2] == [0.18, 0.18]
    assert table["ask_vol"].tolist()[:2] == [0.21, 0.2]


def test_percent_volatility_of_one_row():
    quotes = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 100.0, 110.0], "iv": [0.2, 0.2, 19.0], "forward": 100.0})
    table = inspect_quotes(quotes).table
    assert table["verdict"].tolist() == ["used", "used", "percent volatility"]
    assert table["reason"][2] == "row 2: iv 19.0 is above 500 %, so it looks like percent: divide by 100"


def test_duplicate_names_the_row_that_is_kept():
    table = judge([{"bid": "x"}, {}, {"bid": 2.9}, {"strike": 90.0, "bid": 2.0, "ask": 2.1}])
    assert table["verdict"].tolist() == ["not a number", "used", "duplicate", "used"]
    assert table["reason"][2] == "row 2: the same contract as row 1, which is kept"


def test_in_the_money_row_gives_way_to_its_partner_and_stays_without_one():
    call = {"option_type": "C", "bid": 8.0, "ask": 8.1}
    assert judge([{}, call])["verdict"].tolist() == ["used", "in the money"]
    assert "the put at this strike stands for it" in judge([{}, call])["reason"][1]
    assert judge([call])["verdict"].tolist() == ["used"]
    # the partner stands for the strike even where it has no bid, but not where its data are faulty
    assert judge([{"bid": 0.0}, call])["verdict"].tolist() == ["one-sided", "in the money"]
    assert judge([{"bid": 3.2}, call])["verdict"].tolist() == ["crossed", "used"]
    # alone, it is judged by its time value
    wide = judge([call | {"bid": 5.5, "ask": 8.0}])
    assert wide["verdict"].tolist() == ["wide"]
    assert "of the time value" in wide["reason"][0]


def test_at_the_money_the_call_is_used():
    table = judge([{"strike": 100.0}, {"strike": 100.0, "option_type": "C"}])
    assert table["verdict"].tolist() == ["in the money", "used"]


def test_settings():
    quotes = pd.DataFrame(
        {"expiry": 0.5, "strike": 95.0, "option_type": "P", "bid": [2.0], "ask": 3.0, "forward": 100.0}
    )
    assert inspect_quotes(quotes).counts().to_dict() == {"used": 1}
    assert inspect_quotes(quotes, rules=CleaningRules(max_relative_spread=0.3)).counts().to_dict() == {"wide": 1}
    assert inspect_quotes(quotes, rules=CleaningRules(min_expiry=0.6)).counts().to_dict() == {"too short": 1}
    with pytest.raises(ValueError, match="min_expiry nan must not be negative"):
        CleaningRules(min_expiry=float("nan"))


def test_true_volatilities_come_back(make_chain):
    table = inspect_quotes(make_chain()).table
    used = table[table["verdict"] == "used"]
    assert len(used) == 30
    assert used["is_call"].sum() > 5
    # mids are exact here, so what remains is the error of the forward and discount from parity
    assert used["vol"].to_numpy() == pytest.approx(used["true_vol"].to_numpy(), abs=1e-7)


def test_coin_prices():
    forward, strike = 90000.0, np.array([80000.0, 90000.0, 100000.0])
    quotes = pd.DataFrame(
        {"expiry": 0.25, "strike": strike, "option_type": "C", "price": [8e3, 7e3, 3e3], "forward": forward}
    )
    usd = inspect_quotes(quotes).table
    coin = inspect_quotes(quotes.assign(price=quotes["price"] / forward, currency_of_price="coin", rate=0.05)).table
    assert coin["verdict"].tolist() == usd["verdict"].tolist()
    assert coin["vol"].to_numpy() == pytest.approx(usd["vol"].to_numpy(), rel=1e-10, nan_ok=True)
    assert coin["discount"].eq(1.0).all()


def test_report_counts_and_summary_and_leaves_the_caller_alone():
    quotes = pd.DataFrame(
        {"expiry": 0.5, "strike": [90.0, -1.0, 110.0], "iv": 0.2, "forward": 100.0}, index=["a", "b", "c"]
    )
    before = quotes.copy()
    report = inspect_quotes(quotes)
    pd.testing.assert_frame_equal(quotes, before)
    assert report.table.index.tolist() == ["a", "b", "c"]
    assert report.counts().to_dict() == {"used": 2, "strike not positive": 1}
    assert report.summary() == "2 of 3 quotes used; 1 strike not positive"


ROW = st.fixed_dictionaries(
    {
        "expiry": st.sampled_from([0.5, 1.0, 0.0, None, "soon"]),
        "strike": st.sampled_from([90.0, 100.0, 110.0, -1.0, "x", None]),
        "option_type": st.sampled_from(["C", "P", "put", "?", None]),
        "bid": st.sampled_from([1.0, 5.0, 11.0, 0.0, None, "n/a", -2.0, 1e9]),
        "ask": st.sampled_from([1.2, 5.5, 12.0, None, 0.0, float("inf")]),
        "price": st.sampled_from([3.0, None, -1.0]),
        "iv": st.sampled_from([0.2, None, 20.0]),
        "forward": st.sampled_from([100.0, None, 0.0]),
        "underlying": st.sampled_from(["A", "B", None]),
    }
)


@given(st.lists(ROW, min_size=1, max_size=12))
def test_every_row_has_one_verdict_and_a_reason_unless_used(rows):
    for rules in (CleaningRules(), CleaningRules.crypto()):
        check_verdicts(rows, rules)


def check_verdicts(rows, rules):
    readable = {"expiry": 0.5, "strike": 95.0, "option_type": "C", "iv": 0.2, "underlying": "A"}
    quotes = pd.DataFrame([readable] * (len(rows) + 1) + rows)  # the table as a whole is in order
    table = inspect_quotes(quotes, rules=rules).table
    used = table["verdict"] == "used"
    assert len(table) == len(quotes)
    assert table["verdict"].ne("").all()
    assert (table["reason"] == "").equals(used)
    for position, reason in enumerate(table["reason"]):
        assert not reason or reason.startswith(f"row {position}: ")
    assert (table.loc[used, "vol"] > 0.0).all()
    assert np.isfinite(table.loc[used, "forward"]).all()
