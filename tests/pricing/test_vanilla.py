"""price and model_vol: properties, shapes, bad input. Inside transformations: see test_price_derivatives.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxcal as jc

MODEL = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
BLACK = jc.BlackScholes(0.25)  # for what does not depend on the model: it compiles in a third of Heston's time
PRICERS = [jc.Saddle(), jc.Laguerre(), jc.Cos()]


@jax.jit
def strip(parameters, strike, expiry, forward):
    """Calls and puts of 16 strikes."""
    model = jc.Heston(*parameters)
    return jc.price(model, strike, expiry, forward=forward, is_call=jnp.asarray([[True], [False]]))


parameters = st.tuples(
    st.floats(0.005, 1.0), st.floats(0.05, 30.0), st.floats(0.005, 1.0), st.floats(0.01, 8.0), st.floats(-0.99, 0.99)
).map(lambda five: tuple(map(jnp.asarray, five)))
expiries = st.floats(1 / 365, 10.0).map(jnp.asarray)


@given(parameters, expiries)
def test_parity_bounds_monotonicity_and_convexity(model, expiry):
    strike = jnp.linspace(20.0, 320.0, 16)
    call, put = (np.asarray(p) for p in strip(model, strike, expiry, jnp.asarray(100.0)))
    K = np.asarray(strike)
    np.testing.assert_allclose(call - put, 100.0 - K, atol=1e-11)
    assert (call >= np.maximum(100.0 - K, 0.0) - 1e-11).all()
    assert (call <= 100.0).all()
    assert (put >= -1e-20).all()
    assert (np.diff(call) <= 1e-11).all()
    assert (np.diff(call) >= -20.0 - 1e-11).all()
    assert (np.diff(call, 2) >= -1e-11).all()


@given(parameters, expiries, st.floats(1e-3, 1e5))
def test_units_of_money(model, expiry, unit):
    strike = jnp.linspace(50.0, 200.0, 16)
    for one, many in zip(
        strip(model, strike, expiry, jnp.asarray(100.0)),
        strip(model, unit * strike, expiry, jnp.asarray(unit * 100.0)),
        strict=True,
    ):
        np.testing.assert_allclose(np.asarray(many) / unit, np.asarray(one), rtol=1e-9, atol=1e-12)


@given(parameters)
def test_calendar(model):
    """A European call on a martingale gains with time."""
    strike = jnp.linspace(50.0, 200.0, 16)
    short, long = (np.asarray(strip(model, strike, jnp.asarray(t), jnp.asarray(100.0))[0]) for t in (0.3, 0.5))
    assert (long >= short - 1e-11).all()


HESTONS = [MODEL, jc.Heston(0.5, 8.0, 0.6, 3.0, -0.3), jc.Heston(0.04, 2.0, 0.05, 0.3, 0.4)]


@pytest.mark.parametrize("pricer", PRICERS, ids=repr)
@pytest.mark.parametrize(
    "models", [[jc.BlackScholes(0.3)], pytest.param(HESTONS, marks=pytest.mark.slow)], ids=["Black", "Heston"]
)
def test_second_opinions(pricer, models):
    """The three methods share nothing but the characteristic function. Heston: see test_reference_prices.py too."""
    strike = 100.0 * np.exp(np.linspace(-0.5, 0.4, 8))
    for model in models:
        for expiry in (0.1, 1.0):
            expected = jc.price(model, strike, expiry, forward=100.0, is_call=False)
            found = jc.price(model, strike, expiry, forward=100.0, is_call=False, pricer=pricer)
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=2e-6)
            if not isinstance(pricer, jc.Laguerre):
                np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-7)


@pytest.mark.parametrize("sigma", [0.01, 0.2, 1.0, 2.0])
@pytest.mark.parametrize("expiry", [1 / 365, 0.5, 20.0])
def test_black_scholes_is_black(sigma, expiry):
    deviation = sigma * np.sqrt(expiry)
    strike = jnp.asarray(100.0 * np.exp(np.clip(deviation * np.linspace(-6, 6, 13), -20.0, 20.0)))
    for is_call in (True, False):
        exact = jc.black_price(sigma, strike, expiry, forward=100.0, discount=0.9, is_call=is_call)
        found = jc.price(jc.BlackScholes(sigma), strike, expiry, forward=100.0, discount=0.9, is_call=is_call)
        np.testing.assert_allclose(np.asarray(found), np.asarray(exact), rtol=0, atol=1e-12)


@pytest.mark.parametrize("deviations", [-20.0, -12.0, -6.0, 0.0, 6.0, 12.0, 20.0])
@pytest.mark.parametrize("sigma", [0.05, 0.2, 1.2])
def test_volatility_far_in_the_wings(sigma, deviations):
    strike = 100.0 * float(np.exp(deviations * sigma * 0.5))
    found = jc.model_vol(jc.BlackScholes(sigma), strike, 0.25, forward=100.0)
    assert float(found) == pytest.approx(sigma, rel=1e-9)


def test_wings_of_heston_are_lines_in_total_variance():
    """Roger Lee: total variance over |k| tends to a slope below 2; prices there are of 1e-15 and less."""
    k = np.asarray([-1.4, -1.2, -1.0, 0.8, 0.9, 1.0])
    vol = np.asarray(jc.model_vol(MODEL, 100.0 * np.exp(k), 0.1, forward=100.0))
    slope = vol**2 * 0.1 / np.abs(k)
    assert ((slope > 0.0) & (slope < 2.0)).all()
    assert np.ptp(slope[:3]) < 0.2 * slope[1]
    assert 0.0 < float(jc.price(MODEL, 100.0 * float(np.exp(1.4)), 0.1, forward=100.0)) < 1e-13


@pytest.mark.parametrize("pricer", [jc.Saddle(), pytest.param(jc.Cos(), marks=pytest.mark.slow)], ids=repr)
def test_batch_is_the_loop(pricer):
    batch = jc.Merton(jnp.asarray([0.2, 0.3, 0.5]), jnp.asarray([0.5, 1.0, 2.0]), -0.1, 0.15)
    strike, expiry = np.asarray([90.0, 100.0, 120.0, 80.0]), np.asarray([[0.5], [1.0]])
    arguments = {"forward": 100.0, "discount": 0.9, "is_call": np.asarray([True, False, True, False])}
    together = jc.price(batch, strike, expiry, **arguments, pricer=pricer)
    vols = jc.model_vol(batch, strike, expiry, forward=100.0, pricer=pricer)
    assert together.shape == vols.shape == (3, 2, 4)
    for i, (vol, intensity) in enumerate([(0.2, 0.5), (0.3, 1.0), (0.5, 2.0)]):
        model = jc.Merton(vol, intensity, -0.1, 0.15)
        alone = jc.price(model, strike, expiry, **arguments, pricer=pricer)
        np.testing.assert_allclose(np.asarray(together[i]), np.asarray(alone), atol=1e-6)
        alone = jc.model_vol(model, strike, expiry, forward=100.0, pricer=pricer)
        np.testing.assert_allclose(np.asarray(vols[i]), np.asarray(alone), atol=1e-6)


def test_shapes():
    assert jc.price(BLACK, 90.0, 0.5, forward=100.0).shape == ()
    assert jc.price(BLACK, np.ones((3, 1)), np.ones(4), forward=1.0).shape == (3, 4)
    assert jc.price(BLACK, 1.0, 1.0, forward=np.ones((2, 1)), is_call=np.array([True, False, True])).shape == (2, 3)
    assert jc.price(BLACK, 1.0, 1.0, forward=1.0, discount=np.ones((5, 1, 1))).shape == (5, 1, 1)
    assert jc.model_vol(BLACK, np.ones((3, 1)), 1.0, forward=np.ones(2)).shape == (3, 2)
    assert jc.price(BLACK, np.ones((0,)), 1.0, forward=1.0).shape == (0,)


def test_sides_and_discount():
    is_call = jnp.asarray([True, False, True, False])
    strike = jnp.asarray([90.0, 90.0, 110.0, 110.0])
    mixed = np.asarray(jc.price(MODEL, strike, 0.5, forward=100.0, discount=0.8, is_call=is_call))
    call, put = (
        np.asarray(jc.price(MODEL, strike, 0.5, forward=100.0, discount=0.8, is_call=side)) for side in (True, False)
    )
    np.testing.assert_array_equal(mixed, np.where(is_call, call, put))
    np.testing.assert_allclose(call - put, 0.8 * (100.0 - np.asarray(strike)), rtol=1e-13)
    np.testing.assert_allclose(0.8 * np.asarray(jc.price(MODEL, strike, 0.5, forward=100.0)), call, rtol=1e-14)


@pytest.mark.parametrize("pricer", PRICERS, ids=repr)
@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_input_is_nan_and_alone(pricer, bad):
    good = [100.0, 0.5, 100.0, 0.9]
    rows = np.tile(good, (5, 1))
    rows[np.arange(4), np.arange(4)] = bad
    strike, expiry, forward, discount = rows.T
    found = np.asarray(jc.price(BLACK, strike, expiry, forward=forward, discount=discount, pricer=pricer))
    assert np.isnan(found[:4]).all()
    assert found[4] == pytest.approx(float(jc.black_price(0.25, 100.0, 0.5, forward=100.0, discount=0.9)), rel=1e-7)
    vol = np.asarray(jc.model_vol(BLACK, strike, expiry, forward=forward, pricer=pricer))
    assert np.isnan(vol[:3]).all()
    assert np.isfinite(vol[3:]).all()


@pytest.mark.parametrize("pricer", PRICERS, ids=repr)
def test_model_that_is_not_a_number(pricer):
    found = jc.price(jc.BlackScholes(jnp.asarray([0.25, np.nan])), 100.0, 0.5, forward=100.0, pricer=pricer)
    assert np.isnan(found).tolist() == [False, True]


def test_more_quotes_than_a_chunk():
    strike = np.linspace(40.0, 250.0, 4500)
    many = np.asarray(jc.price(BLACK, strike, 0.5, forward=100.0))
    assert np.isfinite(many).all()
    some = np.array([0, 1, 2047, 4094, 4095, 4096, 4097, 4499])
    np.testing.assert_allclose(many[some], np.asarray(jc.price(BLACK, strike[some], 0.5, forward=100.0)), rtol=1e-13)


@pytest.mark.parametrize("pricer", PRICERS, ids=repr)
def test_float32(pricer):
    model = MODEL if isinstance(pricer, jc.Saddle) else BLACK
    strike = np.asarray([80.0, 95.0, 100.0, 120.0], np.float32)
    found = jc.price(model, strike, 0.5, forward=100.0, pricer=pricer)
    assert found.dtype == jnp.float32
    expected = jc.price(model, np.asarray(strike, np.float64), 0.5, forward=100.0)
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=2e-3)
    assert np.isfinite(found).all()


def test_float32_of_a_volatility():
    narrow = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), BLACK)
    vol = jc.model_vol(narrow, np.asarray([80.0, 95.0, 100.0, 120.0], np.float32), 0.5, forward=100.0)
    assert vol.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(vol), 0.25, rtol=1e-3)


def test_same_input_same_bits():
    strike = np.linspace(50.0, 200.0, 8)
    first, second = (np.asarray(jc.price(MODEL, strike, 0.5, forward=100.0)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
