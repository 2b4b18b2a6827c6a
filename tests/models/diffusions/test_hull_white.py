"""Black-Scholes and Heston under Hull-White rates: against QuantLib, quadrature, and their limits."""

import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxcal as jc

HESTON = (0.04, 1.5, 0.06, 0.7, -0.65)
RATES = {
    jc.BlackScholesHullWhite: (0.2, 0.05, 0.015, -0.6),
    jc.HestonHullWhite: (*HESTON, 0.05, 0.015),
}

# QuantLib 1.44, AnalyticBSMHullWhiteEngine and AnalyticHestonHullWhiteEngine (adaptive integration, 1e-12): calls on a
# spot of 100, flat rates 3 % and dividends 1 %, maturity in days / 365. Its formulas cancel for a small mean reversion.
QUANTLIB = [
    (jc.BlackScholesHullWhite, (0.2, 0.05, 0.01, 0.3), 365, 100.0, 8.887313707810852, 1e-12),
    (jc.BlackScholesHullWhite, (0.2, 0.05, 0.015, -0.6), 3650, 80.0, 36.149340186672696, 1e-12),
    (jc.BlackScholesHullWhite, (0.25, 0.5, 0.03, 0.9), 1825, 110.0, 23.952947243290463, 1e-12),
    (jc.BlackScholesHullWhite, (0.15, 1e-4, 0.02, 0.5), 3650, 150.0, 18.857640772007258, 1e-7),
    (jc.HestonHullWhite, (*HESTON, 0.05, 0.01), 365, 100.0, 8.620372440260276, 1e-11),
    (jc.HestonHullWhite, (*HESTON, 0.05, 0.015), 3650, 130.0, 23.23289013305549, 1e-11),
    (jc.HestonHullWhite, (0.09, 0.5, 0.05, 0.4, 0.3, 0.3, 0.03), 1825, 80.0, 33.18269973089335, 1e-11),
]


@pytest.mark.parametrize(("kind", "fields", "days", "strike", "expected", "tolerance"), QUANTLIB)
def test_prices_of_quantlib(kind, fields, days, strike, expected, tolerance):
    t = days / 365
    found = jc.price(kind(*fields), strike, t, forward=100 * math.exp(0.02 * t), discount=math.exp(-0.03 * t))
    assert float(found) == pytest.approx(expected, rel=tolerance)


def integral(density, t):
    return float(mp.mpf(mp.quad(density, [0, t / 2, t])))  # type: ignore[arg-type]


@given(st.floats(1e-3, 2.0), st.floats(-2, 5), st.floats(0, 0.5), st.floats(-1, 1), st.floats(0.01, 30.0))
def test_variance_is_an_integral(sigma, speed, rate_vol, correlation, t):
    """Of (sigma, rate_vol B) through their correlation; small and negative mean reversion too."""

    def density(u):
        bond = rate_vol * (u if speed == 0 else -mp.expm1(-speed * u) / speed)
        return sigma**2 + 2 * correlation * sigma * bond + bond**2

    z = 1j  # where -(z^2 + iz) / 2 is 1
    found = float(jnp.real(variance(sigma, speed, rate_vol, correlation, t, z)))
    expected = integral(density, t)
    # what a correlation of -1 cancels is known to the rounding of its parts
    size = integral(lambda u: sigma**2 + (rate_vol * u) ** 2 * max(1, mp.exp(-2 * speed * u)), t)
    assert found == pytest.approx(expected, rel=1e-13, abs=2e-14 * size)


@jax.jit
def variance(sigma, speed, rate_vol, correlation, t, z):
    model = jc.BlackScholesHullWhite(sigma, speed, rate_vol, correlation)
    return model.log_cf(jnp.asarray(z), jnp.asarray(t))


@pytest.mark.parametrize("speed", [0.0, 1e-9, 1e-4, 0.249999, 0.250001, 3.0])
def test_derivatives_of_the_variance(speed):
    """In the mean reversion, on both sides of where a series takes over, and at zero."""
    row = (0.2, speed, 0.03, 0.4, 2.0)
    found = jax.jit(jax.grad(lambda *x: jnp.real(variance(*x, 1j)), argnums=(0, 1, 2, 3, 4)))(*map(jnp.asarray, row))

    def exact(sigma, speed, rate_vol, correlation, t):
        def bond(u):
            return u if speed == 0 else -mp.expm1(-speed * u) / speed

        mixed = 2 * correlation * sigma * rate_vol
        return sigma**2 * t + mp.quad(lambda u: mixed * bond(u) + (rate_vol * bond(u)) ** 2, [0, t])

    with mp.workdps(40):
        for i in range(5):
            h = mp.mpf("1e-12")
            up, down = ([mp.mpf(x) + sign * h * (i == j) for j, x in enumerate(row)] for sign in (1, -1))
            assert float(found[i]) == pytest.approx(float((exact(*up) - exact(*down)) / (2 * h)), rel=1e-12)


POINTS = jnp.asarray([0.7, 12.0, 3.0 - 0.5j, -0.3j, 5 * np.exp(0.2j) - 0.5j, 0.0, -1j])


@pytest.mark.parametrize("years", [0.1, 1.0, 20.0])
def test_without_rate_risk(years):
    t = jnp.asarray(years)
    black = jc.BlackScholesHullWhite(0.2, 0.05, 0.0, 0.3).log_cf(POINTS, t)
    assert (np.asarray(black) == np.asarray(jc.BlackScholes(0.2).log_cf(POINTS, t))).all()
    heston = jc.HestonHullWhite(*HESTON, 0.05, 0.0).log_cf(POINTS, t)
    assert (np.asarray(heston) == np.asarray(jc.Heston(*HESTON).log_cf(POINTS, t))).all()


@pytest.mark.parametrize("kind", RATES)
def test_martingale(kind):
    for years in (0.01, 1.0, 30.0):
        found = kind(*RATES[kind]).log_cf(POINTS[-2:], jnp.asarray(years))
        assert np.abs(np.asarray(found)).max() < 1e-15


@pytest.mark.parametrize("kind", [jc.BlackScholesHullWhite, pytest.param(jc.HestonHullWhite, marks=pytest.mark.slow)])
def test_gradients_of_a_price(kind):
    """Forward = reverse = finite difference, in every field."""
    fields = jnp.asarray(RATES[kind])

    @jax.jit
    def one(fields):
        return jc.price(kind(*(fields[i] for i in range(fields.size))), 110.0, 5.0, forward=100.0)

    forward, reverse = (np.asarray(jax.jit(d(one))(fields)) for d in (jax.jacfwd, jax.jacrev))
    np.testing.assert_allclose(forward, reverse, rtol=1e-9)
    for i, x in enumerate(RATES[kind]):
        h = 1e-4 * abs(x)
        step = h * jnp.eye(fields.size)[i]
        ahead = [float(one(fields + n * step)) for n in (-2, -1, 1, 2)]
        difference = (ahead[0] - ahead[3] - 8 * (ahead[1] - ahead[2])) / (12 * h)
        assert forward[i] == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("kind", RATES)
def test_float32(kind):
    z, t = POINTS.astype(jnp.complex64), jnp.asarray(3.0, jnp.float32)
    exact = np.asarray(kind(*RATES[kind]).log_cf(POINTS, jnp.asarray(3.0)))
    for number in (float, lambda x: jnp.asarray(x, jnp.float32)):
        found = kind(*map(number, RATES[kind])).log_cf(z, t)
        assert found.dtype == jnp.complex64
        np.testing.assert_allclose(np.asarray(found), exact, rtol=3e-5, atol=1e-6)


def test_moments_and_cones():
    t = jnp.asarray([0.5, 10.0])
    heston, hybrid = jc.Heston(*HESTON), jc.HestonHullWhite(*RATES[jc.HestonHullWhite])
    for found, expected in zip(hybrid.moment_bounds(t), heston.moment_bounds(t), strict=True):
        assert (np.asarray(found) == np.asarray(expected)).all()
    lower, upper = map(float, hybrid.decay_cone())
    assert (lower, upper) == (pytest.approx(-math.pi / 4), pytest.approx(math.pi / 4))
    steep = jc.HestonHullWhite(0.04, 1.5, 0.06, 0.7, 0.95, 0.05, 0.015)
    assert float(steep.decay_cone()[1]) == pytest.approx(math.pi / 2 - math.asin(0.95))
    assert all(float(x) < -1e3 for x in jc.BlackScholesHullWhite(0.2, 0.05, 0.01, 0.3).moment_bounds(t)[0])


@pytest.mark.parametrize(
    ("kind", "changed", "sentence"),
    [
        (jc.BlackScholesHullWhite, {0: -0.1}, "sigma must not be negative"),
        (jc.BlackScholesHullWhite, {2: -0.1}, "rate_vol must not be negative"),
        (jc.BlackScholesHullWhite, {3: 1.01}, r"rate_correlation must lie in \[-1, 1\]"),
        (jc.HestonHullWhite, {0: -0.1}, "HestonHullWhite.*v0 must not be negative"),
        (jc.HestonHullWhite, {4: 1.0}, r"rho must lie in \(-1, 1\)"),
        (jc.HestonHullWhite, {6: -0.1}, "rate_vol must not be negative"),
    ],
)
def test_violations(kind, changed, sentence):
    fields = [changed.get(i, x) for i, x in enumerate(RATES[kind])]
    with pytest.raises(ValueError, match=sentence):
        kind(*fields)
    inside = jax.jit(lambda x: jc.price(kind(*(x[i] for i in range(x.size))), 100.0, 1.0, forward=100.0))
    assert np.isnan(float(inside(jnp.asarray(fields))))


def test_boundary_of_the_law():
    """Lawful: a certain rate, a perfect correlation, Ho-Lee's lack of mean reversion."""
    for fields in ((0.2, 0.05, 0.0, 0.3), (0.2, 0.05, 0.01, -1.0), (0.2, 0.0, 0.01, 0.3), (0.2, -0.02, 0.01, 0.3)):
        assert 6 < float(jc.price(jc.BlackScholesHullWhite(*fields), 100.0, 1.0, forward=100.0)) < 9
