"""American options at rates and yields at and below zero: one boundary of exercise, none and two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from tests.formulas.american_options import SPOT, inverse, premium_by_tree
from tests.formulas.american_options import price as price_at


def black(vol, strike, expiry, rate, dividend_yield, is_call):
    forward, discount = SPOT * np.exp((rate - dividend_yield) * expiry), np.exp(-rate * expiry)
    return np.asarray(jc.black_price(vol, strike, expiry, forward=forward, discount=discount, is_call=is_call))


def options(count=60):
    """A third at any rates, a third without what exercise gains (or next to none), a third with two boundaries."""
    random = np.random.default_rng(4)
    third = count // 3
    gain, loss = random.uniform(-0.03, 0.08, (2, count))
    gain[third : 2 * third] = random.choice([0.0, 1e-9, 1e-7, -1e-7, 1e-4], third)
    loss[third : 2 * third] = random.uniform(-0.03, 0.0, third)
    gain[2 * third :] = random.uniform(-0.03, 0.0, third)
    loss[2 * third :] = gain[2 * third :] - random.uniform(0.0, 0.03, third)
    is_call = random.random(count) < 0.5
    vol = np.exp(random.uniform(np.log(0.05), np.log(1.0), count))
    expiry = np.exp(random.uniform(np.log(1.0 / 365.0), np.log(3.0), count))
    strike = SPOT * np.exp(np.clip(random.uniform(-1.5, 1.5, count) * vol * np.sqrt(expiry), -0.7, 0.7))
    rate, dividend_yield = np.where(is_call, loss, gain), np.where(is_call, gain, loss)
    return vol, strike, expiry, rate, dividend_yield, is_call


def price(vol, strike, expiry, rate, dividend_yield, is_call):
    return price_at(vol, strike, expiry, SPOT, rate, dividend_yield, is_call)


def test_prices_are_those_of_a_fine_tree():
    columns = options()
    found = price(*columns)
    right = black(*columns) + premium_by_tree(*columns)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, right, rtol=0.0, atol=1e-4 * SPOT)
    assert np.quantile(np.abs(found - right), 0.8) < 2e-5 * SPOT


def test_shares_in_euros_yen_and_francs():
    assert float(jc.american_price(0.2, 40.0, 1.0, spot=36.0, rate=-0.012)) == pytest.approx(1.32217, abs=5e-5)
    put = 0.25, 100.0, 0.5, 0.0, -0.005, False
    one = tuple(np.array([x]) for x in put)
    assert price(*put) == pytest.approx(float((black(*one) + premium_by_tree(*one))[0]), abs=1e-3)
    # no yield: nothing is gained by an early put
    assert price(0.25, 100.0, 0.5, -0.01, 0.0, False) == pytest.approx(black(0.25, 100.0, 0.5, -0.01, 0.0, False))


def test_two_boundaries_without_volatility():
    """Where the strike grows by 1 % and the spot by 4 %, the difference is largest at a spot of a quarter."""
    now = price(0.0, 130.0, 3.0, -0.01, -0.04, False)
    assert now == pytest.approx(30.0)
    years = np.log(0.25 * 500.0 / SPOT) / 0.03
    best = 500.0 * np.exp(0.01 * years) - SPOT * np.exp(0.04 * years)
    assert price(0.0, 500.0, 20.0, -0.01, -0.04, False) == pytest.approx(best, rel=1e-12)
    assert best > max(400.0, 500.0 * np.exp(0.2) - SPOT * np.exp(0.8))


def test_derivatives_with_two_boundaries():
    def value(vol, spot):
        vols = jnp.stack([vol, jnp.nan])
        values = jc.american_price(vols, 105.0, 1.0, spot=spot, rate=-0.01, dividend_yield=-0.03, is_call=False)
        return jnp.sum(jnp.where(jnp.array([True, False]), values, 0.0))  # one that is masked spoils nothing

    by_vol, by_spot = jax.grad(value, argnums=(0, 1))(0.2, SPOT)
    assert float(by_vol) == pytest.approx(float(value(0.21, SPOT) - value(0.19, SPOT)) / 0.02, rel=0.01)
    assert float(by_spot) == pytest.approx(float(value(0.2, SPOT + 1.0) - value(0.2, SPOT - 1.0)) / 2.0, rel=0.01)


def test_volatilities_come_back_at_any_rates():
    vol, strike, expiry, rate, dividend_yield, is_call = columns = options(30)
    value = price(*columns)
    found = inverse(value, strike, expiry, SPOT, rate, dividend_yield, is_call)
    at_once = value <= np.where(is_call, SPOT - strike, strike - SPOT) + 1e-5
    assert np.isfinite(found[~at_once]).all()
    np.testing.assert_allclose(price(found, *columns[1:])[~at_once], value[~at_once], atol=1e-5)
    assert np.median(np.abs(found - vol)[~at_once]) < 1e-6
