"""Static arbitrage: every kind with its amount, and its repair. Tables of volatilities, so that nothing compiles."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

import jaxcal as jc
from jaxcal.market.arbitrage.forward_calls import calls_of_report
from jaxcal.market.arbitrage.strategies import all_strategies

STRIKES = np.array([80.0, 90.0, 100.0, 110.0, 120.0])


def call(vol, strike, years, forward=100.0):
    deviation = vol * np.sqrt(years)
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    return forward * ndtr(d1) - strike * ndtr(d1 - deviation)


def vega(vol, strike, years, forward=100.0):
    d1 = np.log(forward / strike) / (vol * np.sqrt(years)) + 0.5 * vol * np.sqrt(years)
    return forward * np.sqrt(years / (2.0 * np.pi)) * np.exp(-0.5 * d1 * d1)


def report(vols, *, strikes=STRIKES, half=None, forward=100.0, **columns):
    """Volatilities by expiry in years, each a number or one a strike."""
    tables = []
    for years, iv in vols.items():
        table = pd.DataFrame({"expiry": years, "strike": strikes, "iv": iv, "forward": forward, **columns})
        if half is not None:
            table = table.assign(bid_iv=table["iv"] - half, ask_iv=table["iv"] + half)
        tables.append(table)
    return jc.inspect_quotes(pd.concat(tables, ignore_index=True))


def test_flat_volatilities_have_none():
    found = jc.find_arbitrage(report({0.1: 0.2, 0.5: 0.2, 1.0: 0.2}))
    assert found.num_violations == 0
    assert found.to_frame().empty
    assert found.num_strategies["butterfly"] == 3 * 4  # the call of strike 0 is a neighbour
    assert str(found).startswith("no arbitrage in ")


def test_a_butterfly_and_its_amount():
    iv = [0.2, 0.2, 0.3, 0.2, 0.2]
    found = jc.find_arbitrage(report({0.5: iv}, discount=0.97))
    expected = call(0.3, 100.0, 0.5) - 0.5 * (call(0.2, 90.0, 0.5) + call(0.2, 110.0, 0.5))
    row = found.to_frame().iloc[0]
    assert found.num_violations == 1
    assert (row["kind"], row["strike"], row["low_strike"], row["high_strike"]) == ("butterfly", 100.0, 90.0, 110.0)
    assert row["amount"] == pytest.approx(0.97 * expected, rel=1e-9)
    assert row["vol_points"] == pytest.approx(100.0 * expected / vega(0.3, 100.0, 0.5), rel=1e-9)
    assert row["row"] == 2
    assert np.isnan(row["later_years"])
    assert "1 of 4 butterflies have negative cost at mid, up to " in str(found)


def test_what_can_be_traded_is_less_than_what_shows_at_mid():
    iv = [0.2, 0.2, 0.3, 0.2, 0.2]
    hidden = jc.find_arbitrage(report({0.5: iv}, half=0.09)).to_frame()
    assert hidden["to_trade"].tolist() == [0.0]
    shown = jc.find_arbitrage(report({0.5: iv}, half=0.002))
    expected = call(0.298, 100.0, 0.5) - 0.5 * (call(0.202, 90.0, 0.5) + call(0.202, 110.0, 0.5))
    assert shown.to_frame()["to_trade"].tolist() == pytest.approx([expected], rel=1e-9)
    assert shown.num_to_trade == 1
    assert "; 1 can be traded, for up to " in str(shown)


def test_a_vertical_spread():
    found = jc.find_arbitrage(report({0.5: [0.2, 0.2, 0.2, 0.2, 0.9]})).to_frame()
    vertical = found[found["kind"].eq("vertical")]
    assert vertical[["strike", "low_strike"]].to_numpy().tolist() == [[120.0, 110.0]]
    assert vertical["amount"].iloc[0] == pytest.approx(call(0.9, 120.0, 0.5) - call(0.2, 110.0, 0.5), rel=1e-9)


def test_a_calendar_is_at_equal_strike_over_forward():
    found = jc.find_arbitrage(report({0.5: 0.3, 1.0: 0.2})).to_frame()
    assert set(found["kind"]) == {"calendar"}
    at = found[(found["strike"] == 100.0) & (found["low_strike"] == 100.0)].iloc[0]
    assert (at["years"], at["later_years"]) == (0.5, 1.0)
    assert at["amount"] == pytest.approx(call(0.3, 100.0, 0.5) - call(0.2, 100.0, 1.0), rel=1e-9)
    # a forward that falls by a third makes later calls at equal strikes cheaper, which is no arbitrage
    early, late = (report({years: 0.2}, forward=forward) for years, forward in ((0.5, 100.0), (0.6, 70.0)))
    both = jc.inspect_quotes(pd.concat([early.table, late.table], ignore_index=True))
    assert jc.find_arbitrage(both).num_violations == 0


def test_expiries_that_do_not_follow_one_another_are_compared_too():
    # the middle expiry has one far strike: it says nothing of the money
    first, last = report({0.5: 0.3}), report({1.0: 0.2})
    middle = report({0.7: 0.25}, strikes=np.array([300.0]))
    table = pd.concat([part.table for part in (first, middle, last)], ignore_index=True)
    found = jc.find_arbitrage(jc.inspect_quotes(table)).to_frame()
    assert ((found["years"] == 0.5) & (found["later_years"] == 1.0)).any()


def test_a_later_call_below_the_chord_of_earlier_ones():
    # between two early strikes no convex early curve can pass below: the chords on either side meet above it
    strikes = np.array([80.0, 90.0, 110.0, 120.0])
    early = report({0.5: 0.4}, strikes=strikes)
    floor = max(
        call(0.4, 90.0, 0.5) + (call(0.4, 90.0, 0.5) - call(0.4, 80.0, 0.5)),
        call(0.4, 110.0, 0.5) + (call(0.4, 110.0, 0.5) - call(0.4, 120.0, 0.5)),
    )
    cheap = next(vol for vol in np.arange(0.4, 0.0, -0.001) if call(vol, 100.0, 0.6) < floor - 0.01)
    late = report({0.6: cheap}, strikes=np.array([100.0]))
    table = pd.concat([early.table, late.table], ignore_index=True)
    found = jc.find_arbitrage(jc.inspect_quotes(table)).to_frame()
    chord = found[found["strike"].eq(100.0)]
    assert chord["amount"].max() == pytest.approx(floor - call(cheap, 100.0, 0.6), rel=1e-6)


def test_a_later_call_below_the_chord_from_strike_zero():
    # one early call at 90: from strike 0, worth the forward, the early curve must go on at least as high as that chord
    early = report({0.5: 0.6}, strikes=np.array([90.0]))
    floor = call(0.6, 90.0, 0.5) - (100.0 - call(0.6, 90.0, 0.5)) / 9.0
    assert floor > call(0.1, 100.0, 0.6)
    late = report({0.6: 0.1}, strikes=np.array([100.0]))
    found = jc.find_arbitrage(jc.inspect_quotes(pd.concat([early.table, late.table], ignore_index=True))).to_frame()
    assert set(found["kind"]) == {"calendar"}
    amount = found[found["strike"].eq(100.0)]["amount"]
    assert amount.tolist() == pytest.approx([floor - call(0.1, 100.0, 0.6)], rel=1e-9)


def test_parity_by_bid_and_ask():
    quotes = pd.DataFrame(
        {"expiry": 0.5, "strike": 95.0, "option_type": ["P", "C"], "forward": 100.0, "discount": 0.98}
    )
    put = call(0.2, 95.0, 0.5) - 5.0
    put_bid, put_ask = 0.98 * (put - 0.05), 0.98 * (put + 0.05)
    call_bid, call_ask = 0.98 * (put + 5.1), 0.98 * (put + 5.2)
    found = jc.find_arbitrage(jc.inspect_quotes(quotes.assign(bid=[put_bid, call_bid], ask=[put_ask, call_ask])))
    row = found.to_frame().iloc[0]
    assert (row["kind"], row["strike"], row["row"]) == ("parity", 95.0, 1)
    assert row["to_trade"] == pytest.approx(0.98 * 0.05)
    assert row["amount"] == pytest.approx(0.98 * 0.15)
    assert "1 of 1 pairs of call and put do not meet" in str(found)
    wide = jc.find_arbitrage(jc.inspect_quotes(quotes.assign(bid=[put_bid, call_bid - 0.1], ask=[put_ask, call_ask])))
    assert wide.num_violations == 0
    assert wide.num_strategies["parity"] == 1


def test_surfaces_one_by_one_and_a_surface_alone():
    good = report({0.5: 0.2}, underlying="A").table
    bad = report({0.5: [0.2, 0.2, 0.3, 0.2, 0.2]}, underlying="B").table
    both = jc.inspect_quotes(pd.concat([good, bad], ignore_index=True))
    found = jc.find_arbitrage(both).to_frame()
    assert found[["underlying", "row"]].to_numpy().tolist() == [["B", 7]]
    alone = jc.find_arbitrage(jc.surfaces_from_quotes(both)[("B", None)]).to_frame()
    assert alone["amount"].tolist() == pytest.approx(found["amount"].tolist(), rel=1e-6)


def test_nothing_to_look_at():
    empty = jc.inspect_quotes(pd.DataFrame({"expiry": [0.5], "strike": [-1.0], "iv": [0.2], "forward": 100.0}))
    assert str(jc.find_arbitrage(empty)) == "no arbitrage in 0 strategies"
    assert str(jc.repair_arbitrage(empty)) == "none of 0 quotes moved"


def test_repair_moves_what_is_least():
    quotes = report({0.5: [0.2, 0.2, 0.3, 0.2, 0.2]}, half=0.09)
    repair = jc.repair_arbitrage(quotes)
    assert repair.within_spread == (True,)
    assert jc.find_arbitrage(repair.report).num_violations == 0
    # one butterfly is too dear: its middle comes down by its excess, the smallest change there is
    excess = jc.find_arbitrage(quotes).to_frame()["amount"].iloc[0]
    assert repair.changes["row"].tolist() == [2]
    assert repair.changes["amount"].tolist() == pytest.approx([-excess], rel=1e-6)
    assert not repair.changes["outside"].any()
    untouched = repair.report.table["vol"].drop(index=2)
    np.testing.assert_array_equal(untouched, quotes.table["vol"].drop(index=2))
    assert "1 of 5 quotes moved" in str(repair)


def test_repair_is_nearer_than_the_truth_before_the_noise():
    # the flat surface behind the noise is free of arbitrage, so the repair cannot cost more than the noise did
    rng = np.random.default_rng(3)
    strikes = np.linspace(80.0, 120.0, 21)
    noise = {years: 0.01 * rng.standard_normal(21) for years in (0.2, 0.4, 0.8)}
    quotes = report({years: 0.2 + e for years, e in noise.items()}, strikes=strikes, half=0.04)
    assert jc.find_arbitrage(quotes).num_violations > 10
    repair = jc.repair_arbitrage(quotes)
    assert jc.find_arbitrage(repair.report, tolerance=1e-9).num_violations == 0
    cost = sum(np.abs(call(0.2 + e, strikes, years) - call(0.2, strikes, years)).sum() for years, e in noise.items())
    assert 0.0 < repair.changes["amount"].abs().sum() < 0.8 * cost
    bid, ask = (repair.report.table[name] for name in ("bid_vol", "ask_vol"))
    assert repair.report.table["vol"].between(bid - 1e-7, ask + 1e-7).all()


def test_where_bid_and_ask_hold_no_solution_quotes_leave_them():
    quotes = report({0.5: [0.2, 0.2, 0.3, 0.2, 0.2]}, half=0.002)
    repair = jc.repair_arbitrage(quotes)
    assert repair.within_spread == (False,)
    assert repair.changes["outside"].any()
    assert "leave their bid and ask" in str(repair)
    assert jc.find_arbitrage(repair.report).to_frame()["amount"].le(1e-8).all()


def test_quotes_without_arbitrage_are_left_alone():
    quotes = report({0.2: 0.2, 0.5: 0.21})
    repair = jc.repair_arbitrage(quotes)
    pd.testing.assert_frame_equal(repair.report.table, quotes.table)
    assert str(repair) == "none of 10 quotes moved"


@given(st.lists(st.floats(0.05, 0.8), min_size=10, max_size=10))
def test_every_table_can_be_repaired(vols):
    quotes = report({0.25: vols[:5], 0.5: vols[5:]})
    repair = jc.repair_arbitrage(quotes)
    assert jc.find_arbitrage(repair.report, tolerance=1e-8).num_violations == 0
    assert (repair.report.table["vol"] > 0.0).all()


def test_conditions_hold_for_every_martingale():
    # any law of mean one, then steps of mean one whatever came before: no strategy may cost less than nothing
    rng = np.random.default_rng(7)
    calls = calls_of_report(report({0.25: 0.3, 0.5: 0.3, 1.0: 0.3}, strikes=np.linspace(50.0, 200.0, 31)), 0)
    law = np.exp(rng.standard_normal(300) * rng.uniform(0.1, 1.0, 300))
    law /= law.mean()
    prices = []
    for expiry in range(3):
        prices.append(np.maximum(law[:, None] - calls.moneyness[calls.expiry == expiry], 0.0).mean(0))
        step = rng.uniform(0.5, 1.5, (len(law), 3))
        law = (law[:, None] * step / step.mean(1, keepdims=True)).ravel()
    price = np.concatenate(prices)
    assert min(part.cost(price).min() for part in all_strategies(calls.expiry, calls.moneyness)) > -1e-12


def test_a_fee_is_of_the_quoted_option_and_at_most_a_share_of_its_price():
    iv = [0.2, 0.2, 0.3, 0.2, 0.2]
    quotes = report({0.5: iv}, half=0.001, discount=0.97)
    gross = jc.find_arbitrage(quotes)
    assert gross.fee is None
    row = gross.to_frame().iloc[0]
    assert (row["kind"], row["strike"]) == ("butterfly", 100.0)
    for fee in (jc.TakerFee(0.0003, 0.125), jc.TakerFee(0.01, 0.001)):
        net = jc.find_arbitrage(quotes, fee=fee)
        sold = call(0.299, 100.0, 0.5)
        put, bought = call(0.201, 90.0, 0.5) - 10.0, call(0.201, 110.0, 0.5)  # at 90 the put is quoted
        paid = 0.5 * sum(min(fee.rate * 100.0, fee.cap * price) for price in (put, bought))
        paid += min(fee.rate * 100.0, fee.cap * sold)
        found = net.to_frame().iloc[0]
        assert found["to_trade"] == pytest.approx(row["to_trade"] - 0.97 * paid, rel=1e-9)
        assert found["amount"] == row["amount"]
        assert "can be traded after fees" in str(net)
    assert jc.find_arbitrage(quotes, fee=jc.TakerFee(0.02, 0.5)).num_to_trade == 0
    assert jc.find_arbitrage(quotes, fee=jc.TakerFee()).to_frame().equals(gross.to_frame())


def test_a_fee_on_a_pair_of_call_and_put():
    table = pd.DataFrame({
        "expiry": 0.5, "strike": [100.0, 100.0, 110.0], "option_type": ["C", "P", "C"], "forward": 101.0,
        "bid": [6.5, 4.9, 2.0], "ask": [6.6, 5.0, 2.1],
    })  # fmt: skip
    quotes = jc.inspect_quotes(table, rules=jc.CleaningRules())
    gross, net = (jc.find_arbitrage(quotes, fee=fee).to_frame() for fee in (None, jc.TakerFee(0.0003)))
    pair, charged = (found[found["kind"].eq("parity")].iloc[0] for found in (gross, net))
    assert pair["to_trade"] == pytest.approx(6.5 - 5.0 - 1.0)
    assert charged["to_trade"] == pytest.approx(pair["to_trade"] - 2 * 0.0003 * 101.0)
    assert charged["amount"] == pytest.approx(pair["amount"])


def test_parity_is_no_rule_for_american_options():
    table = pd.DataFrame({
        "expiry": 1.0, "strike": [100.0, 100.0, 110.0], "option_type": ["C", "P", "C"], "spot": 100.0, "rate": 0.05,
        "bid": [8.0, 8.0, 4.0], "ask": [8.1, 8.1, 4.1],
    })  # fmt: skip
    rules = jc.CleaningRules()
    for exercise, pairs in (("E", 1), ("A", 0), ("american", 0)):
        quotes = jc.inspect_quotes(table.assign(exercise=exercise, forward=101.0, discount=0.95), rules=rules)
        found = jc.find_arbitrage(quotes)
        assert (found.violations["kind"].eq("parity").sum(), found.num_strategies["parity"]) == (pairs, pairs)
