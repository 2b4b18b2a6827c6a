"""American prices and volatilities: against QuantLib, bounds, limits, derivatives, round trips."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from tests.formulas.american_options import SIZE, SPOT, first, inverse, one_size, price

# QuantLib 1.44, QdFpAmericanEngine, scheme of high precision: `python -m benchmarks.speed.american --goldens`
GOLDENS = pd.read_csv(Path(__file__).parents[1] / "goldens" / "american.csv")
COLUMNS = ("vol", "strike", "expiry", "rate", "dividend_yield", "is_call")


def _value(numbers, is_call):
    vol, strike, expiry, spot, rate, dividend_yield = numbers
    market = {"spot": spot, "rate": rate, "dividend_yield": dividend_yield, "is_call": is_call}
    return jc.american_price(vol, strike, expiry, **market)


# one program for every direction: all first and second derivatives in one program take three times as long to compile
@jax.jit
def _moved(numbers, moves, is_call):
    return jax.jvp(lambda *numbers: _value(numbers, is_call), numbers, moves)[1]


@jax.jit
def _delta_and_gamma(numbers, is_call):
    delta = jax.grad(lambda spot: jnp.sum(_value((*numbers[:3], spot, *numbers[4:]), is_call)))
    return jax.jvp(delta, (numbers[3],), (jnp.ones(SIZE),))


def derivative(place, *columns):
    """By the column at a place, in forward mode."""
    (*numbers, is_call), shape = one_size(*columns)
    moves = tuple(jnp.full(SIZE, float(i == place)) for i in range(len(numbers)))
    return first(_moved(tuple(numbers), moves, is_call), shape)


def delta_and_gamma(*columns):
    """By the spot, in reverse mode, and the derivative of that."""
    (*numbers, is_call), shape = one_size(*columns)
    return [first(x, shape) for x in _delta_and_gamma(tuple(numbers), is_call)]


@pytest.fixture(scope="module")
def options():
    """All columns of the goldens, and the spot, in the order of `price`."""
    vol, strike, expiry, rate, dividend_yield, is_call = (jnp.asarray(GOLDENS[name].to_numpy()) for name in COLUMNS)
    return vol, strike, expiry, jnp.full_like(vol, SPOT), rate, dividend_yield, is_call


@pytest.fixture(scope="module")
def found(options):
    return np.asarray(price(*options))


def test_prices_are_those_of_quantlib(found):
    error = np.abs(found - GOLDENS["price"]) / np.maximum(SPOT, GOLDENS["strike"])
    assert len(error) > 180
    assert error.max() < 5e-5
    assert np.quantile(error, 0.9) < 1e-5


def test_never_below_europe_or_exercise_at_once(options, found):
    vol, strike, expiry, spot, rate, dividend_yield, is_call = options
    forward = spot * jnp.exp((rate - dividend_yield) * expiry)
    european = jc.black_price(vol, strike, expiry, forward=forward, discount=jnp.exp(-rate * expiry), is_call=is_call)
    at_once = jnp.where(is_call, spot - strike, strike - spot)
    assert (found >= np.asarray(european) - 1e-10 * SPOT).all()
    assert (found >= np.asarray(at_once) - 1e-12 * SPOT).all()
    # a call without yield is European
    alike = np.asarray(is_call & (dividend_yield == 0.0) & (rate >= 0.0))
    assert alike.sum() > 3
    np.testing.assert_allclose(found[alike], np.asarray(european)[alike], atol=1e-10)


def test_a_call_is_a_put_the_other_way_round(options, found):
    vol, strike, expiry, spot, rate, dividend_yield, is_call = options
    other = price(vol, spot, expiry, strike, dividend_yield, rate, ~is_call)
    np.testing.assert_allclose(other, found, rtol=1e-12, atol=1e-12)


def test_rises_with_volatility():
    vol = jnp.exp(jnp.linspace(jnp.log(1e-4), jnp.log(5.0), 40))[:, None]
    strike = jnp.array([70.0, 90.0, 100.0, 115.0, 140.0])
    for rate, dividend_yield in ((0.05, 0.0), (0.03, 0.06), (1e-4, 0.02)):
        values = price(vol, strike, 0.7, SPOT, rate, dividend_yield, False)
        assert (np.diff(values, axis=0) >= -1e-6).all()


@pytest.mark.parametrize(
    ("vol", "strike", "expiry", "rate", "dividend_yield", "expected"),
    [
        (0.0, 110.0, 1.0, 0.05, 0.0, 10.0),  # exercised at once
        (0.0, 90.0, 1.0, 0.05, 0.0, 0.0),
        (0.0, 100.0, 1.0, 0.01, 0.06, 100.0 * (np.exp(-0.01) - np.exp(-0.06))),  # the spot falls: wait
        (1e-6, 110.0, 1.0, 0.05, 0.0, 10.0),
        (0.3, 110.0, 0.0, 0.05, 0.0, 10.0),  # at expiry
        (0.3, 110.0, 1e-10, 0.05, 0.0, 10.0),
        (0.2, 300.0, 1.0, 0.05, 0.0, 200.0),  # deep in the money
        (-0.2, 100.0, 1.0, 0.05, 0.0, np.nan),
        (0.2, 0.0, 1.0, 0.05, 0.0, np.nan),
        (0.2, 100.0, np.nan, 0.05, 0.0, np.nan),
        (0.2, np.inf, 1.0, 0.05, 0.0, np.nan),
    ],
)
def test_limits(vol, strike, expiry, rate, dividend_yield, expected):
    value = price(vol, strike, expiry, SPOT, rate, dividend_yield, False)
    np.testing.assert_allclose(value, expected, atol=2e-4)


def test_derivatives_are_slopes(options):
    for place in range(6):
        slopes = derivative(place, *options)
        assert np.isfinite(slopes).all()
        if place in (2, 4, 5):
            continue
        width = 2e-3 * options[place]
        up, down = ([x + sign * width if i == place else x for i, x in enumerate(options)] for sign in (1.0, -1.0))
        differences = (price(*up) - price(*down)) / (2.0 * width)
        scale = SPOT if place == 0 else 1.0
        # differences over a kink, or over a large part of a short option's range, are not slopes
        error = np.abs(np.asarray(slopes - differences)) / scale
        assert np.quantile(error, 0.8) < 1e-3
    delta, _ = delta_and_gamma(*options)
    # the boundary is of single precision, in either mode
    np.testing.assert_allclose(delta, derivative(3, *options), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_derivatives_are_the_same_in_reverse(options):
    (*numbers, is_call), shape = one_size(*options)
    reverse = jax.jit(jax.grad(lambda numbers: jnp.sum(_value(numbers, is_call))))(tuple(numbers))
    for place, slopes in enumerate(reverse):
        expected = derivative(place, *options)
        np.testing.assert_allclose(first(slopes, shape), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_volatility_comes_back(options, found):
    vol = np.asarray(options[0])
    vega = np.asarray(price(options[0] + 1e-4, *options[1:]) - found) / 1e-4
    moves = vega > 0.1 * SPOT
    assert moves.sum() > 60
    back = np.asarray(inverse(jnp.asarray(found), *options[1:]))
    np.testing.assert_allclose(back[moves], vol[moves], atol=1e-6)
    # what the option is exercised for at once says nothing of volatility
    at_once = np.asarray(jnp.where(options[-1], options[3] - options[1], options[1] - options[3]))
    assert np.isnan(back[(found <= at_once) & (at_once > 0)]).all()
    (value, strike, expiry, spot, rate, dividend_yield, is_call), shape = one_size(found, *options[1:])
    market = {"spot": spot, "rate": rate, "dividend_yield": dividend_yield, "is_call": is_call}
    slope = jax.grad(lambda p: jnp.nansum(jc.american_vol(p, strike, expiry, **market)))(value)
    np.testing.assert_allclose(first(slope, shape)[moves], 1.0 / vega[moves], rtol=5e-3)


def test_no_volatility_gives_the_price():
    value = jnp.array([9.99, 10.0, 110.0, 120.0, jnp.nan, 12.0])
    back = np.asarray(inverse(value, 110.0, 1.0, SPOT, 0.05, 0.0, False))
    assert np.isnan(back[:5]).all()
    assert 0.1 < back[5] < 0.3


def test_shapes_and_precision():
    values = jc.american_price(
        np.float32(0.2), np.ones((3, 1), np.float32), np.ones(2, np.float32), spot=1.0, rate=0.05, is_call=False
    )
    assert values.shape == (3, 2)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, 0.0609, atol=1e-4)
    assert jc.american_price(np.ones(0), 1.0, 1.0, spot=1.0, rate=0.1).shape == (0,)


def test_far_from_the_money_early_exercise_is_not_lost_in_rounding():
    # QuantLib 1.44, QdFpAmericanEngine, scheme of high precision
    strike = np.asarray([60.0, 50.0, 45.0, 40.0])
    exact = np.asarray([7.03781575e-03, 1.81219553e-04, 1.55400264e-05, 7.36576417e-07])
    found = np.asarray(price(0.2, strike, 1.0, SPOT, 0.08, 0.0, False))
    np.testing.assert_allclose(found, exact, rtol=3e-3)


def test_second_differences_in_the_spot_are_gamma():
    spot, bump = np.linspace(95.0, 105.0, 41), 1e-2
    up, here, down = (np.asarray(price(0.2, 100.0, 1.0, spot + move, 0.08, 0.0, False)) for move in (bump, 0.0, -bump))
    _, gamma = delta_and_gamma(0.2, 100.0, 1.0, spot, 0.08, 0.0, False)
    np.testing.assert_allclose((up - 2.0 * here + down) / bump**2, gamma, rtol=1e-3)
