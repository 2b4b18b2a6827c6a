"""Options on an asset that pays dividends in cash: against QuantLib, and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

RATE = 0.045
EX_TIMES = np.array([30, 121, 212, 303, 395, 486, 577, 668]) / 365.0
# QuantLib 1.44, FdBlackScholesVanillaEngine, CashDividendModel Escrowed, a step a day (400 at least), 800 nodes;
# spot 100, rate 4.5 %, dividends of 1: vol, strike, days to expiry, is_call, price
QUANTLIB = np.array(
    [
        (0.2202, 88.76, 375, True, 14.9992),
        (0.2268, 90.42, 655, True, 16.3321),
        (0.5227, 117.01, 343, False, 30.1496),
        (0.1788, 81.54, 463, True, 19.6624),
        (0.1139, 105.13, 92, False, 6.0187),
        (0.6831, 112.11, 612, False, 39.6661),
        (0.1696, 85.55, 346, True, 15.7831),
        (0.4154, 80.06, 383, True, 26.4621),
    ]
)
VOL, STRIKE, DAYS, IS_CALL, PRICE = QUANTLIB.T


def price(spot=100.0, expiry=DAYS / 365.0, amounts=1.0, american=True):
    shape = jnp.broadcast_shapes(np.shape(spot), np.shape(expiry), VOL.shape)
    return np.asarray(
        jc.cash_dividend_price(
            jnp.broadcast_to(VOL, shape), STRIKE, expiry, spot=spot, rate=RATE, ex_times=EX_TIMES,
            amounts=jnp.full(EX_TIMES.shape, amounts), is_call=IS_CALL > 0, american=american,
        )
    )  # fmt: skip


def test_prices_are_those_of_quantlib():
    np.testing.assert_allclose(price(), PRICE, atol=0.02)


def test_european_is_black_on_what_is_left_of_the_spot():
    years = DAYS / 365.0
    worth = np.where(years[:, None] >= EX_TIMES, np.exp(-RATE * EX_TIMES), 0.0).sum(1)
    black = jc.black_price(
        VOL, STRIKE, years, forward=(100.0 - worth) * np.exp(RATE * years), discount=np.exp(-RATE * years),
        is_call=IS_CALL > 0,
    )  # fmt: skip
    european = price(american=False)
    np.testing.assert_allclose(european, black, rtol=1e-12)
    assert (price() >= european - 2e-3).all()


def test_without_dividends_it_is_the_price_by_the_boundary():
    smooth = jc.american_price(VOL, STRIKE, DAYS / 365.0, spot=100.0, rate=RATE, is_call=IS_CALL > 0)
    np.testing.assert_allclose(price(amounts=0.0), smooth, atol=0.02)


@pytest.mark.parametrize(("change", "expected"), [({"expiry": np.zeros(8)}, "at once"), ({"amounts": 20.0}, "nan")])
def test_limits(change, expected):
    found = price(**change)
    at_once = np.maximum(np.where(IS_CALL > 0, 100.0 - STRIKE, STRIKE - 100.0), 0.0)
    if expected == "at once":
        np.testing.assert_allclose(found, at_once)
    else:  # dividends worth more than the spot
        assert np.isnan(found[DAYS > 576]).all()
        assert np.isfinite(found[DAYS < 100]).all()


def market(**change):
    whole = {"spot": 100.0, "rate": RATE, "ex_times": EX_TIMES, "amounts": np.ones(8), "is_call": IS_CALL > 0}
    return {**whole, **change}


@pytest.mark.parametrize("american", [True, False])
def test_volatility_comes_back(american):
    value = price(american=american)
    found = jc.cash_dividend_vol(value, STRIKE, DAYS / 365.0, american=american, **market())
    np.testing.assert_allclose(found, VOL, rtol=2e-6)


def test_volatilities_of_quantlibs_prices():
    found = np.asarray(jc.cash_dividend_vol(PRICE, STRIKE, DAYS / 365.0, **market()))
    np.testing.assert_allclose(found, VOL, atol=2e-3)


def test_no_volatility():
    value = np.resize([19.99, 101.0, -1.0, np.nan], 8)  # as many as the others: one program
    found = jc.cash_dividend_vol(value, np.full(8, 80.0), np.full(8, 0.5), **market(is_call=np.ones(8, bool)))
    assert np.isnan(np.asarray(found)).all()


def test_derivative_of_the_volatility_is_that_of_the_inverse():
    rest = {"ex_times": EX_TIMES[:2], "amounts": np.ones(2), "rate": RATE, "is_call": False, "american": False}

    def vol(value, spot):
        return jc.cash_dividend_vol(value, 95.0, 0.9, spot=spot, **rest)

    def value(vol, spot):
        return jc.cash_dividend_price(vol, 95.0, 0.9, spot=spot, **rest)

    by_price, by_spot = jax.grad(vol, argnums=(0, 1))(value(0.3, 100.0), 100.0)
    vega, delta = jax.grad(value, argnums=(0, 1))(0.3, 100.0)
    assert float(by_price) == pytest.approx(float(1.0 / vega), rel=1e-5)
    assert float(by_spot) == pytest.approx(float(-delta / vega), rel=1e-5)
