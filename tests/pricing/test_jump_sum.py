"""Jumps of one size: where no contour resolves phi, `price` sums over the numbers of jumps."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.pricing.jump_sum import value_by_counts

# at corners of the default bounds; each has NaN on every contour
MERTON = [
    jc.Merton(0.001, 200.0, 2.0, 0.001),
    jc.Merton(0.01, 1.3, 0.66, 0.001),
    jc.Merton(0.037, 200.0, -2.0, 0.05),
    jc.Merton(0.001, 0.008, 0.69, 0.0023),
]
EXPIRY = [1 / 365, 0.25, 5.0]
LOG_STRIKE = [-1.2, -0.01, 0.0, 0.01, 0.6]


def by_series(model, k, t):
    """Merton's eq. 16 in 30 digits: the out-of-the-money value over the forward."""
    with mp.workdps(30):
        sigma, intensity, mean, std = (mp.mpf(float(x)) for x in (*vars(model).values(),))
        k, count = mp.mpf(float(k)), intensity * mp.mpf(float(t))
        growth = mean + std**2 / 2
        rate = count * mp.exp(growth) if k >= 0 else count
        first = max(0, int(rate - 14 * mp.sqrt(rate) - 40))
        total = mp.mpf(0)
        for n in range(first, int(rate + 14 * mp.sqrt(rate) + 80)):
            weight = mp.exp(n * mp.log(rate) - rate - mp.loggamma(n + 1))
            distance = k - n * growth + count * mp.expm1(growth)
            root = mp.sqrt(sigma**2 * mp.mpf(float(t)) + n * std**2)
            up, down = -distance / root + root / 2, -distance / root - root / 2
            call = mp.ncdf(up) - mp.exp(distance) * mp.ncdf(down)
            put = mp.ncdf(-down) - mp.exp(-distance) * mp.ncdf(-up)
            total += weight * (call if k >= 0 else put)
        return float(total if k >= 0 else total * mp.exp(k))


@pytest.mark.parametrize("model", MERTON, ids=str)
def test_merton_by_his_series(model):
    t, k = (x.ravel() for x in np.meshgrid(EXPIRY, LOG_STRIKE, indexing="ij"))
    expected = np.asarray([by_series(model, *at) for at in zip(k, t, strict=True)])
    found = np.asarray(jc.price(model, np.exp(k), t, forward=1.0, is_call=k >= 0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    summed = value_by_counts(model, t, k, 1e-6, relative=True)
    seen = expected > 1e-200
    np.testing.assert_allclose(summed[seen], expected[seen], rtol=1e-6)
    assert not np.isnan(jc.price(model, np.exp(k[:2]), t[:2], forward=1.0, pricer=jc.Series())).any()


def test_far_wings_keep_their_relative_accuracy():
    """Ten jumps, of which one is expected in a hundred years, take the price there."""
    model = jc.Merton(0.05, 0.01, -0.2, 0.001)
    k = np.asarray([-2.0, -1.0, -0.5])
    expected = np.asarray([by_series(model, x, 0.1) for x in k])
    assert expected[0] < 1e-35
    np.testing.assert_allclose(value_by_counts(model, np.full(3, 0.1), k, 1e-6, relative=True), expected, rtol=1e-6)


@jax.jit
def log_cf(model, z, t):
    return model.log_cf(z, t)


def direct(model, t, k, step, count):
    """The Lewis integral by the trapezoidal rule in steps too small to step over a peak, at each of `k`."""
    u = step * np.arange(count)
    z = u - 0.5j
    phi = np.exp(np.asarray(log_cf(model, z, t))) / (z * (z + 1j))
    f = [phi * np.exp(x * (1.0 - 1j * z)) for x in k]
    assert max(abs(of_strike[-1]) for of_strike in f) < 1e-12
    sums = np.asarray([np.sum(np.where(u == 0, 0.5, 1.0) * np.real(of_strike)) for of_strike in f])
    return np.minimum(1.0, np.exp(k)) - sums * step / np.pi


DIFFUSION = (0.04, 1.5, 0.04, 0.5, -0.6)
BY_CLASS = {
    "Bates": jc.Bates(*DIFFUSION, 3.0, -0.9, 0.001),
    "SVCJ": jc.SVCJ(*DIFFUSION, 3.0, -0.9, 0.001, 0.03, -0.5),
    "PiecewiseBates": jc.PiecewiseBates(*DIFFUSION, [3.0, 1.0], -0.9, 0.001, [0.3]),
    "PiecewiseBates of two sizes": jc.PiecewiseBates(*DIFFUSION, [3.0, 1.0], [-0.9, 0.5], [0.001, 0.002], [0.3]),
}


# one size of jump, for all time too, is the case of two
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in {"Bates", "PiecewiseBates"})) for name in BY_CLASS]
)
def test_a_sum_is_the_integral(name):
    model, t = BY_CLASS[name], np.full(4, 0.7)
    k = np.asarray([-1.5, -0.2, 0.1, 1.0])
    expected = direct(model, 0.7, k, 0.01, 60_000)
    found = value_by_counts(model, t, k, 1e-10, relative=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_price_and_model_vol_end_there():
    """What no contour prices is priced all the same, for one model and for many."""
    model = jc.Merton(0.01, 1.3, 0.66, 0.001)
    k = np.linspace(0.01, 0.3, 15)  # as many as above: programs of one size
    assert np.isnan(jc.price(model, np.exp(k), 0.25, forward=1.0, pricer=jc.Saddle(2048))).any()
    expected = np.asarray([by_series(model, x, 0.25) for x in k])
    np.testing.assert_allclose(jc.price(model, np.exp(k), 0.25, forward=1.0), expected, atol=1e-10)
    vols = jc.model_vol(model, np.exp(k), 0.25, forward=1.0)
    np.testing.assert_allclose(jc.black_price(vols, np.exp(k), 0.25, forward=1.0), expected, rtol=1e-6)
    many = jc.Merton(jnp.asarray([0.01, 0.2]), 1.3, 0.66, 0.001)
    np.testing.assert_allclose(jc.price(many, np.exp(k), 0.25, forward=1.0)[0], expected, atol=1e-10)


def test_a_law_without_jumps_has_no_sum():
    assert jc.Heston(*DIFFUSION).jump_kinds(jnp.ones(1)) is None
    found = value_by_counts(jc.Heston(*DIFFUSION), np.ones(2), np.zeros(2), 1e-10, relative=False)
    assert np.isnan(found).all()


@pytest.mark.parametrize("sigma", [2.0, 6.6, 10.0])
def test_a_law_as_wide_as_can_be(sigma):
    """The saddle point is next to the pole; the value is the bound, less what no digit shows."""
    k = np.linspace(-5.0, 5.0, 7)
    found = jc.price(jc.BlackScholes(sigma), np.exp(k), 5.0, forward=1.0, is_call=k >= 0)
    np.testing.assert_allclose(found, jc.black_price(sigma, np.exp(k), 5.0, forward=1.0, is_call=k >= 0), atol=1e-10)
