"""American quotes in the pipeline: what is taken out of them is what was put in."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.market.cleaning.quote_report import inspect_quotes
from tests.formulas.american_options import premium_by_tree

SPOT, RATE, YIELD = 100.0, 0.045, 0.013


def smile(strike, years):
    k = np.log(strike / (SPOT * np.exp((RATE - YIELD) * years))) / np.sqrt(years)
    return np.clip(0.22 - 0.12 * k + 0.15 * k * k, 0.08, 0.6)


@pytest.fixture(scope="module")
def chain():
    """American quotes of known volatilities, three expiries, calls and puts."""
    years, strike, side = (
        x.ravel() for x in np.meshgrid([30.0 / 365.0, 0.5, 2.0], np.arange(76.0, 133.0, 8.0), ["C", "P"])
    )
    years, strike = years.astype(float), strike.astype(float)
    vol = smile(strike, years)
    price = jc.american_price(
        jnp.asarray(vol), strike, years, spot=SPOT, rate=RATE, dividend_yield=YIELD, is_call=side == "C"
    )
    table = {"expiry": years, "strike": strike, "option_type": side, "bid": np.asarray(price) - 0.01}
    return pd.DataFrame(table | {"ask": np.asarray(price) + 0.01, "spot": SPOT, "exercise": "A", "truth": vol})


@pytest.fixture(scope="module")
def report(chain):
    return inspect_quotes(chain, rate=RATE)


def test_volatilities_and_yield_come_back(report):
    used = report.table[report.table["verdict"].eq("used")]
    assert len(used) > 18
    assert np.abs(used["vol"] - used["truth"]).max() < 1e-3
    forwards = report.forwards
    assert forwards["forward_source"].eq("parity").all()
    assert forwards["discount_source"].eq("rate").all()
    found = RATE - np.log(forwards["forward"] / SPOT) / forwards["years"]
    np.testing.assert_allclose(found, YIELD, atol=1e-4)
    assert (forwards["forward_error"] > 0.0).all()


def test_the_report_says_what_was_done(report):
    table = report.table
    premium = table["early_exercise_premium"]
    assert (premium[table["verdict"].eq("used")] > -1e-6).all()
    assert premium[table["option_type"].eq("P") & table["expiry"].eq(2.0)].max() > 1.0
    assert f"{(table['verdict'] == 'used').sum()} de-Americanised" in report.summary()
    at_once = table[table["verdict"].eq("exercise at once")]
    assert len(at_once) > 2
    assert at_once["option_type"].eq("P").all()
    assert "that exercise at once pays" in at_once["reason"].iloc[0]


def test_a_spot_of_another_time_is_replaced_by_that_of_parity():
    """Wild yields at short expiries would make up for it, and premia and verdicts would be wrong."""
    years, strike, side = (
        x.ravel()
        for x in np.meshgrid(np.array([7.0, 14.0, 28.0, 56.0]) / 365.0, np.arange(90.0, 111.0, 2.0), ["C", "P"])
    )
    vol, is_call = smile(strike, years), side == "C"
    given = {"spot": SPOT, "rate": RATE, "dividend_yield": YIELD}
    price = np.asarray(jc.american_price(jnp.asarray(vol), strike, years, **given, is_call=is_call))
    quotes = {"expiry": years, "strike": strike, "option_type": side, "bid": price - 0.005, "ask": price + 0.005}
    chain = pd.DataFrame(quotes | {"exercise": "A", "truth": vol})
    right, stale = (inspect_quotes(chain.assign(spot=spot), rate=RATE) for spot in (SPOT, 1.004 * SPOT))
    assert right.table["exercise_spot"].dropna().eq(SPOT).all()
    np.testing.assert_allclose(stale.table["exercise_spot"].dropna(), SPOT, rtol=2e-5)
    used = right.table["verdict"].eq("used")
    assert stale.table["verdict"].eq("used").equals(used)
    assert stale.table["verdict"].ne(right.table["verdict"]).sum() <= 4  # puts at the boundary of exercise
    np.testing.assert_allclose(
        stale.table["early_exercise_premium"][used], right.table["early_exercise_premium"][used], atol=2e-4
    )
    assert "(spot 0.40% below the table's, by parity)" in stale.summary()
    assert "by parity)" not in right.summary()
    # a spot that is right to a few basis points is taken as it is, and so is one beside fewer than three expiries
    near, few = chain.assign(spot=1.0003 * SPOT), chain[chain["expiry"] < 0.05].assign(spot=1.004 * SPOT)
    for table in (near, few):
        spot = inspect_quotes(table, rate=RATE).table["exercise_spot"].dropna()
        assert len(spot) > 30
        assert spot.eq(table["spot"][spot.index]).all()


def test_a_yield_that_is_given_is_taken(chain):
    table = inspect_quotes(chain.assign(rate=RATE, dividend_yield=YIELD)).table
    used = table[table["verdict"].eq("used")]
    assert np.abs(used["vol"] - used["truth"]).max() < 1e-3


def test_a_surface_of_american_quotes(chain, report):
    surface = jc.Surface.from_quotes(chain, rate=RATE)
    assert surface.num_quotes == jc.Surface.from_quotes(report).num_quotes
    assert list(jc.surfaces_from_quotes(chain, rate=RATE)) == [(None, None)]
    with pytest.raises(ValueError, match="give rate to inspect_quotes"):
        jc.Surface.from_quotes(report, rate=RATE)


@pytest.mark.parametrize(
    ("change", "missing"),
    [({}, "rate"), ({"spot": np.nan}, "rate and spot"), ({"spot": np.nan, "rate": RATE}, "spot")],
)
def test_what_is_missing_is_named(chain, change, missing):
    table = inspect_quotes(chain.assign(**change)).table
    assert table["verdict"].eq("American exercise").all()
    assert table["reason"][0] == f"row 0: American exercise; to take its value out of the price add {missing}"
    with pytest.raises(jc.QuoteError, match="American exercise"):
        jc.Surface.from_quotes(chain.assign(**change))


def test_a_rate_in_percent_is_refused(chain):
    with pytest.raises(jc.QuoteError, match="in percent by 100"):
        inspect_quotes(chain, rate=4.5)


def test_european_rows_do_not_change(chain):
    european = chain.assign(exercise="E", forward=101.0, discount=0.99)
    mixed = pd.concat([european, chain.assign(underlying="other")], ignore_index=True)
    mixed["underlying"] = mixed["underlying"].fillna("one")
    alone, beside = inspect_quotes(european).table, inspect_quotes(mixed, rate=RATE).table[: len(european)]
    pd.testing.assert_series_equal(alone["vol"], beside["vol"])
    assert beside["early_exercise_premium"].isna().all()
    assert alone["early_exercise_premium"].isna().all()


# without a yield, parity finds one of about 0 on either side of it, and the search for volatilities climbs many trees
@pytest.mark.parametrize("dividend_yield", [0.005, pytest.param(0.0, marks=pytest.mark.slow)])
def test_quotes_at_a_negative_rate_are_used(dividend_yield):
    strike, side = np.repeat([80.0, 100.0, 120.0], 2), np.tile(["C", "P"], 3)
    years, rate, is_call = np.full(6, 0.5), np.full(6, -0.008), side == "C"
    forward, discount = SPOT * np.exp(-0.004 - 0.5 * dividend_yield), np.exp(0.004)
    black = np.asarray(jc.black_price(0.25, strike, years, forward=forward, discount=discount, is_call=is_call))
    price = black + premium_by_tree(np.full(6, 0.25), strike, years, rate, dividend_yield, is_call)
    table = pd.DataFrame({"expiry": 0.5, "strike": strike, "option_type": side, "price": price, "exercise": "A"})
    report = inspect_quotes(table.assign(spot=SPOT, rate=-0.008))
    used = report.table[report.table["verdict"].eq("used")]
    assert sorted(used["strike"]) == sorted(set(strike))
    np.testing.assert_allclose(used["vol"], 0.25, atol=3e-4)
    assert report.forwards["forward"][0] == pytest.approx(forward, rel=2e-5)
