"""The three grids: one linear functional for many strikes, sizes, ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.pricing.cos import cos_range
from jaxcal.pricing.pricer import total_vol_of
from jaxcal.pricing.sinh import Sinh

MODEL = jax.tree.map(jnp.asarray, jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65))
NEAR = jax.tree.map(jnp.asarray, jc.Heston(v0=0.05, kappa=2.0, theta=0.05, sigma=0.9, rho=-0.5))
LEVY = jax.tree.map(jnp.asarray, jc.NIG(15.0, -5.0, 0.5))  # compiled in half of Heston's time
EXPIRY = jnp.asarray([0.1, 0.5, 2.0])
evaluate = jax.jit(lambda grid, model: grid.value(model))
build = jax.jit(lambda pricer, *arguments: pricer.grid(*arguments))
bounded = jax.jit(lambda pricer, *arguments: pricer.value(*arguments))
total_vol = jax.jit(total_vol_of)
PRICERS = [jc.Saddle(), jc.Laguerre(64), jc.Cos(1024)]


class CharacteristicFunctionOnly(jc.AbstractFourierModel):
    """Merton's law, with no moments and no cone."""

    sigma: float
    intensity: float
    mean: float
    std: float

    def log_cf(self, z, t):
        jump = jnp.exp(1j * z * self.mean - 0.5 * self.std**2 * z * z) - 1.0
        drift = -self.intensity * (jnp.exp(self.mean + 0.5 * self.std**2) - 1.0)
        diffusion = -0.5 * self.sigma**2 * (z * z + 1j * z)
        return t * (diffusion + 1j * z * drift + self.intensity * jump)


@pytest.fixture(scope="module")
def log_strike():
    return jnp.asarray(np.linspace(-2.0, 1.5, 9)[None, :] * 0.22 * np.sqrt(EXPIRY)[:, None])


@pytest.fixture(scope="module")
def otm(log_strike):
    """Out-of-the-money values of both models by the default pricer."""
    return [
        np.asarray(
            jc.price(
                m, np.exp(log_strike), np.asarray(EXPIRY)[:, None], forward=1.0, is_call=np.asarray(log_strike) >= 0
            )
        )
        for m in (MODEL, NEAR)
    ]


@pytest.mark.parametrize("pricer", PRICERS, ids=repr)
def test_grid_prices_its_model_and_those_near(pricer, log_strike, otm):
    grid = build(pricer, MODEL, EXPIRY, log_strike, total_vol(MODEL, EXPIRY))
    for model, expected in zip((MODEL, NEAR), otm, strict=True):
        value = np.asarray(evaluate(grid, model)).reshape(expected.shape)
        np.testing.assert_allclose(value, expected, atol=1e-8)


@pytest.mark.parametrize("pricer", PRICERS, ids=repr)
@pytest.mark.parametrize("model", [LEVY, pytest.param(MODEL, marks=pytest.mark.slow)], ids=["NIG", "Heston"])
def test_value_bounds_its_error(model, pricer, log_strike):
    """Heston: see test_reference_prices.py too."""
    k = jnp.asarray(np.ravel(log_strike))
    t = jnp.asarray(np.repeat(np.asarray(EXPIRY), log_strike.shape[1]))
    exact = np.asarray(jc.price(model, np.exp(k), np.asarray(t), forward=1.0, is_call=np.asarray(k) >= 0))
    for sized in (pricer, type(pricer)(12)):
        value, bound = bounded(sized, model, t, k)
        error = np.abs(np.asarray(value) - exact)
        believed = np.asarray(bound) <= pricer.tolerance(np.dtype(np.float64))
        assert (error[believed] <= pricer.tolerance(np.dtype(np.float64))).all()
    assert (np.asarray(bounded(pricer, model, t, k)[1]) <= 1e-7).all()


@pytest.mark.parametrize("kind", [jc.Saddle, jc.Laguerre, jc.Cos])
def test_sizes(kind):
    """Automatic sizes become fixed ones; finer ones end."""
    method, seen = kind().sized(), []
    assert method.sized() == method
    assert kind(40).sized() == kind(40)
    while method is not None:
        seen.append(method)
        method = method.finer()
        assert len(seen) < 20
    assert len(seen) >= 2
    assert len(set(seen)) == len(seen)
    assert kind().tolerance(np.dtype(np.float32)) > kind().tolerance(np.dtype(np.float64))


def test_cos_range_holds_the_strikes_and_the_mass(log_strike):
    """A tighter range than the textbook's, that still leaves no visible mass below it."""
    wide = total_vol(LEVY, EXPIRY)
    a, b = (np.asarray(x) for x in jax.jit(cos_range)(LEVY, EXPIRY, log_strike, wide))
    assert (a < np.asarray(log_strike).min(axis=1)).all()
    assert (b > np.asarray(log_strike).max(axis=1)).all()
    # the put at e^a is worth more than e^a P(X < a) / 2
    put = np.asarray(jc.price(LEVY, np.exp(a), EXPIRY, forward=1.0, is_call=False))
    assert (put < 1e-9).all()
    assert (b - a < 100 * np.asarray(wide)).all()


def test_total_vol_of_black_scholes_is_exact():
    found = total_vol(jc.BlackScholes(jnp.asarray(0.3)), EXPIRY)
    np.testing.assert_allclose(np.asarray(found), 0.3 * np.sqrt(EXPIRY), rtol=1e-14)


@pytest.mark.parametrize("pricer", PRICERS, ids=repr)
def test_a_model_that_knows_only_its_characteristic_function(pricer):
    """No moments, no cone: the base class's answers still price."""
    model, strike = CharacteristicFunctionOnly(0.2, 0.8, -0.1, 0.15), np.array([80.0, 95.0, 100.0, 120.0])
    # the series of Merton (1976): Black prices given the number of jumps
    exact, weight = np.zeros(4), np.exp(-0.8)
    for n in range(60):
        forward = 100.0 * np.exp(n * (-0.1 + 0.5 * 0.15**2) - 0.8 * (np.exp(-0.1 + 0.5 * 0.15**2) - 1.0))
        vol = np.sqrt(0.2**2 + n * 0.15**2)
        exact += weight * np.asarray(jc.black_price(vol, jnp.asarray(strike), 1.0, forward=forward))
        weight *= 0.8 / (n + 1)
    with jax.numpy_dtype_promotion("standard"):  # as a user writes it: real parameters times complex z
        found = jc.price(model, jnp.asarray(strike), 1.0, forward=100.0, pricer=pricer)
    np.testing.assert_allclose(np.asarray(found), exact, atol=1e-6)


def test_a_drift_may_move_on_a_grid():
    """Variance gamma at a week: phi falls like a power, so that the contour ends where the nearest strikes let it. A
    model of another drift, as a fit tries it, then has finite and good values.
    """
    start, other = (jax.tree.map(jnp.asarray, jc.VarianceGamma(0.125, 0.1, theta)) for theta in (-0.0395, -0.07))
    expiry, log_strike = jnp.asarray([7 / 365]), jnp.linspace(-0.06, 0.04, 15)[None, :]

    @jax.jit
    def on_a_grid(start, other):
        return Sinh(36).grid(start, expiry, log_strike, jnp.asarray([0.125 * (7 / 365) ** 0.5])).value(other)

    found = on_a_grid(start, other)
    expected, bound = jax.jit(jc.Saddle(512).value)(other, jnp.repeat(expiry, 15), log_strike[0])
    assert float(jnp.max(bound)) < 1e-6
    np.testing.assert_allclose(np.asarray(found[0]), np.asarray(expected), atol=2e-5)
