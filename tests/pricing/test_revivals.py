"""Jumps of nearly one size, frequent: phi dies and revives, and every pricer is right or says that it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.pricing.sinh import Sinh

PRICERS = [jc.Saddle(128), Sinh(36), jc.Laguerre(32), jc.Cos(512)]
NUM_MODELS, STEP, BLOCK, BLOCKS = 120, 0.01, 1 << 14, 8


@pytest.mark.parametrize(
    "pricer", [jc.Laguerre(32), *(pytest.param(p, marks=pytest.mark.slow) for p in (jc.Laguerre(), *PRICERS))], ids=repr
)
def test_a_wrong_number_once(pricer):
    """Thirty-four jumps a year of -0.4, give or take 0.009; the value is that of a direct integral."""
    model = jc.Bates(0.176442, 0.20454, 0.308578, 3.35967, -0.506076, 34.1054, -0.398147, 0.00905399)
    found = jc.price(model, np.exp(-0.0840449), 1.56911, forward=1.0, is_call=False, pricer=pricer)
    assert np.isnan(found) or abs(float(found) - 0.745399930357) < 1e-9


def draws(name):
    """Models, expiries and log-strikes from a fixed seed."""
    rng = np.random.default_rng(5)

    def log_uniform(low, high):
        return np.exp(rng.uniform(np.log(low), np.log(high), NUM_MODELS))

    mean = rng.choice([-1.0, 1.0], NUM_MODELS) * log_uniform(0.02, 1.0)
    std, intensity, expiry = np.abs(mean) * log_uniform(0.003, 0.15), log_uniform(5, 60), log_uniform(0.1, 3)
    heston = [log_uniform(*bounds) for bounds in ((0.002, 0.5), (0.1, 10.0), (0.002, 0.4), (0.05, 5.0))]
    heston.append(rng.uniform(-0.98, 0.98, NUM_MODELS))
    jumps = [intensity, mean, std]
    models = {
        "Merton": lambda: jc.Merton(*map(jnp.asarray, [log_uniform(0.01, 0.5), *jumps])),
        "Bates": lambda: jc.Bates(*map(jnp.asarray, [*heston, *jumps])),
        "SVCJ": lambda: jc.SVCJ(
            *map(jnp.asarray, [*heston, *jumps, log_uniform(0.001, 0.2), rng.uniform(-0.5, 0.5, NUM_MODELS)])
        ),
    }[name]()
    spread = np.sqrt(intensity * expiry) * np.abs(mean)
    log_strike = np.clip(rng.normal(size=NUM_MODELS), -2.5, 2.5) * np.minimum(spread, 3.0)
    return models, jnp.asarray(expiry), jnp.asarray(log_strike)


@jax.jit
def direct(models, expiry, log_strike):
    """The Lewis integral by the trapezoidal rule on the line -i/2, in steps too small to step over anything; and what
    is left of the integrand at its end.
    """

    def one(row):
        model, t, k = row

        def block(i, carry):
            u = STEP * (i.astype(jnp.float64) * float(BLOCK) + jnp.arange(BLOCK, dtype=jnp.float64))
            z = jax.lax.complex(u, jnp.full_like(u, -0.5))
            f = jnp.exp(model.log_cf(z, t) + k.astype(z.dtype) * (1.0 - 1j * z)) / (z * (z + 1j))
            return carry[0] + jnp.sum(jnp.where(u == 0, 0.5, 1.0) * jnp.real(f)), jnp.max(jnp.abs(f))

        total, last = jax.lax.fori_loop(0, BLOCKS, block, (jnp.zeros(()), jnp.zeros(())))
        return jnp.minimum(1.0, jnp.exp(k)) - total * STEP / jnp.pi, last

    return jax.lax.map(one, (models, expiry, log_strike))


@jax.jit
def by_row(pricer, models, expiry, log_strike):
    def one(row):
        model, t, k = row
        return tuple(x[0] for x in pricer.value(model, t[None], k[None]))

    return jax.lax.map(one, (models, expiry, log_strike))


@pytest.mark.parametrize(
    "name", ["Merton", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Bates", "SVCJ"))]
)
def test_right_or_not_a_number(name):
    models, expiry, log_strike = draws(name)
    exact, last = (np.asarray(x) for x in direct(models, expiry, log_strike))
    known = last < 1e-15
    assert known.sum() > 0.8 * NUM_MODELS
    for pricer in PRICERS:
        found, bound = (np.asarray(x) for x in by_row(pricer, models, expiry, log_strike))
        tolerance = pricer.tolerance(np.dtype(np.float64))
        kept = known & (bound <= tolerance)
        assert np.abs(found - exact)[kept].max() <= tolerance, pricer
        if pricer == PRICERS[0]:  # nor is much of what is right thrown away
            assert kept.sum() >= 0.7 * (known & (np.abs(found - exact) <= tolerance)).sum()
        assert kept.sum() >= 5, pricer


def test_narrow_cones():
    """|rho| near 1: a contour that keeps its distance from the edge of the cone must not leave it on the other side."""
    log_strike = jnp.asarray([-1.0, -0.3, 0.0, 0.3, 1.0])
    gain = np.maximum(0.0, 1.0 - np.exp(log_strike))
    for pricer in (Sinh(96), jc.Laguerre(80)):

        @jax.jit
        def on_a_grid(model, pricer=pricer):
            return pricer.grid(model, jnp.asarray([1.0]), log_strike[None, :], jnp.asarray([0.22])).value(model)[0]

        for rho in (-0.999, 0.999):
            model = jc.Heston(0.04, 1.5, 0.06, 0.7, rho)
            expected = jc.price(model, jnp.exp(log_strike), 1.0, forward=1.0)
            np.testing.assert_allclose(np.asarray(on_a_grid(model)) + gain, np.asarray(expected), atol=1e-4)


def test_many_jumps_outgrow_the_bent_line_far_out():
    """The drift that makes up for 180 jumps a year grows along the contour after the integrand has died."""
    model = jc.Bates(0.264, 14.2, 0.23, 14.6, -0.507, 182.0, -0.0122, 0.0266)
    strikes, expiry = jnp.linspace(60.0, 160.0, 16), jnp.asarray([0.0125, 0.03, 0.19, 0.5, 1.0])
    exact = jc.price(model, strikes, expiry[:, None], forward=100.0, is_call=strikes >= 100.0)
    places = jnp.broadcast_to(jnp.log(strikes / 100.0), exact.shape)
    found = 100.0 * jax.jit(lambda m: Sinh(36).grid(m, expiry, places, 0.5 * jnp.sqrt(expiry)).value(m))(model)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-3)
