"""Merton: where its jumps allow a contour, and which moments can be written down."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc


def test_without_jumps_black():
    z, t = jnp.asarray([1.5, 3.0 - 0.5j]), jnp.asarray(0.7)
    found = np.asarray(jc.Merton(0.3, 0.0, -0.1, 0.2).log_cf(z, t))
    np.testing.assert_allclose(found, np.asarray(jc.BlackScholes(0.3).log_cf(z, t)), rtol=1e-15)
    np.testing.assert_allclose(np.asarray(jc.Merton(0.3, 5.0, 0.0, 0.0).log_cf(z, t)), found, rtol=1e-15)


@pytest.mark.parametrize(("mean", "std"), [(-0.3, 0.01), (-0.3, 0.3), (0.2, 0.02), (0.0, 0.1), (0.0, 0.0), (-0.1, 0.0)])
def test_jumps_stay_small_in_the_cone(mean, std):
    """E[exp(i z J)] nowhere above e along a ray inside, and above it just outside where the cone is narrow."""
    lower, upper = (float(x) for x in jc.Merton(0.2, 1.0, mean, std).decay_cone())
    radius = np.logspace(-2, 5, 2000)

    def highest(angle):
        z = radius * np.exp(1j * angle)
        return np.max(np.real(1j * z * mean - 0.5 * std**2 * z * z))

    for edge in (lower, upper):
        assert highest(0.999 * edge) <= 1.0 + 1e-6
        if 1e-6 < abs(edge) < 0.78:
            assert highest(1.1 * edge) > 1.0
    assert lower <= 0.0 <= upper


@pytest.mark.parametrize(("mean", "std"), [(-0.3, 0.01), (2.0, 2.0), (0.2, 0.0), (-2.0, 1e-3), (0.0, 0.0)])
def test_moments_that_can_be_written_down(mean, std):
    lower, upper = (float(x) for x in jc.Merton(0.2, 1.0, mean, std).moment_bounds(jnp.asarray(1.0)))
    for q in (lower, upper):
        rounding = 4.0 * np.finfo(float).eps * abs(mean * q)  # of two terms that nearly cancel
        assert mean * q + 0.5 * std**2 * q * q <= 60.0 * (1 + 1e-12) + rounding
    assert lower < 0.0
    assert upper > 1.0
