import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxcal.formulas.normal import mills_drop, mills_ratio, normal_cdf, normal_pdf

POINTS = np.concatenate([[-0.375, -0.2, -1e-9, 0.0, 1e-9], np.geomspace(1e-3, 1e5, 60)])
ratio, drop, cdf = jax.jit(mills_ratio), jax.jit(mills_drop), jax.jit(normal_cdf)


def exact_mills(z):
    with mp.workdps(60):
        z = mp.mpf(z)
        return mp.sqrt(mp.pi / 2) * mp.exp(z * z / 2) * mp.erfc(z / mp.sqrt(2))


def test_mills_ratio_near_and_far():
    exact = np.array([float(exact_mills(z)) for z in POINTS])
    error = np.abs(np.asarray(ratio(POINTS)) - exact)
    assert error.max() < 5e-16
    assert (error / exact)[POINTS < 40].max() < 2e-14


@pytest.mark.parametrize("gap", [1e-12, 1e-4, 0.3, 5.0])
def test_the_drop_keeps_its_relative_accuracy_however_small(gap):
    exact = []
    for z in POINTS:
        with mp.workdps(60):
            exact.append(float(exact_mills(z) - exact_mills(mp.mpf(z) + mp.mpf(gap))))
    near, found = drop(POINTS, np.full_like(POINTS, gap))
    np.testing.assert_allclose(near, ratio(POINTS), rtol=2e-14)
    np.testing.assert_allclose(found, exact, rtol=2e-14)


def test_no_gap_no_drop():
    assert float(drop(jnp.array(1.0), jnp.array(0.0))[1]) == 0.0


def test_cdf_in_both_tails():
    d = np.array([-37.0, -20.0, -8.0, -1.0, -1e-8, 0.0, 1e-8, 0.5, 3.0, 8.0, 40.0, -np.inf, np.inf])
    with mp.workdps(60):
        exact = [float(mp.ncdf(x)) for x in d]
    np.testing.assert_allclose(cdf(d), exact, rtol=2e-13, atol=0)  # a rounding of d^2 / 2 counts 685 times at -37
    assert np.isnan(cdf(jnp.nan))


def test_cdf_derivatives_are_the_density_and_its_slope():
    d = jnp.linspace(-5.0, 5.0, 11)
    first = jax.vmap(jax.grad(normal_cdf))(d)
    second = jax.vmap(jax.grad(jax.grad(normal_cdf)))(d)
    np.testing.assert_allclose(first, normal_pdf(d), rtol=1e-15)
    np.testing.assert_allclose(second, -d * normal_pdf(d), rtol=1e-14)


def test_float32_stays_float32():
    z = jnp.linspace(0.0, 30.0, 7, dtype=jnp.float32)
    found = ratio(z)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, ratio(z.astype(jnp.float64)), rtol=3e-5)
    assert cdf(z).dtype == jnp.float32
