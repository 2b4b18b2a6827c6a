"""CGMY: smooth through y = 0 and y = 1, and variance gamma at 0."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import jaxcal as jc
from tests.goldens.family_domain import cgmy as textbook

Z = jnp.asarray([0.7, 3.0 - 0.5j, 5 * np.exp(0.2j) - 0.5j, 300.0, 1e-7])
T = jnp.asarray(0.7)


@jax.jit
def value_and_slope(y):
    """And the second derivative in y."""

    def parts(y):
        return jc.CGMY(0.8, 4.0, 7.0, y).log_cf(Z, T)

    slope = lambda y: jax.jvp(parts, (y,), (jnp.ones_like(y),))[1]  # noqa: E731
    return parts(y), *jax.jvp(slope, (y,), (jnp.ones_like(y),))


@pytest.mark.parametrize("y", [-0.5, -1e-9, 0.0, 1e-12, 1e-5, 0.49999, 0.5, 0.50001, 1 - 1e-9, 1.0, 1 + 1e-6, 1.9])
def test_smooth_in_y(y):
    found = [np.asarray(x) for x in value_and_slope(jnp.asarray(y))]
    with mp.workdps(100):
        h = mp.mpf("1e-15")
        for i, z in enumerate(np.asarray(Z)):
            # off the removable poles of the printed formula
            at = [
                textbook(mp.mpmathify(complex(z)), mp.mpf(0.7), 0.8, 4.0, 7.0, y + s * h + mp.mpf("1e-25"))
                for s in (-1, 0, 1)
            ]
            expected = [complex(x) for x in (at[1], (at[2] - at[0]) / (2 * h), (at[2] - 2 * at[1] + at[0]) / h**2)]
            for order, (got, tolerance) in enumerate(zip(found, (1e-13, 1e-11, 1e-8), strict=True)):
                assert abs(got[i] - expected[order]) <= tolerance * abs(expected[order]) + 1e-15, (order, z)


def test_y_0_is_variance_gamma():
    c, g, m = 2.0, 12.0, 20.0
    nu, sigma, theta = 1 / c, np.sqrt(2 * c / (g * m)), c * (1 / m - 1 / g)
    expected = np.asarray(jc.VarianceGamma(sigma, nu, theta).log_cf(Z, T))
    np.testing.assert_allclose(np.asarray(jc.CGMY(c, g, m, 0.0).log_cf(Z, T)), expected, rtol=1e-12)
    drifts = [float(model.drift(T)) for model in (jc.CGMY(c, g, m, 0.0), jc.VarianceGamma(sigma, nu, theta))]
    assert drifts[0] == pytest.approx(drifts[1], rel=1e-7)


@pytest.mark.parametrize("y", [-1.0, 0.0, 0.3, 0.6])
def test_drift_is_what_is_left_at_large_z(y):
    model = jc.CGMY(0.5, 5.0, 8.0, y)
    z = jnp.asarray(1e12 + 0j)
    left = float(jnp.real(model.log_cf(z, T) / (1j * z)))
    assert left == pytest.approx(float(model.drift(T)), rel=1e-3)


def test_large_rates_do_not_cancel():
    """With g and m of 500 the terms of the printed formula are 250,000 times its value."""
    found = np.asarray(jc.CGMY(1e3, 500.0, 400.0, 0.8).log_cf(Z, T))
    with mp.workdps(40):
        expected = [
            complex(textbook(mp.mpmathify(complex(z)), mp.mpf(0.7), 1000, 500, 400, mp.mpf(0.8))) for z in np.asarray(Z)
        ]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_c_in_units_of_variance():
    model = jc.CGMY(0.8, 4.0, 7.0, 0.5)
    variance = jc.CGMY.bounds["c"].relative(0.8, model)
    second = jax.jacfwd(jax.jacfwd(lambda u: jnp.real(model.log_cf(u * (1.0 + 0j), jnp.asarray(1.0)))))
    assert float(variance) == pytest.approx(-float(second(jnp.asarray(1e-6))), rel=1e-6)
