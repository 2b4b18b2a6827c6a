"""VarianceGamma: its drift, its moments, and Black-Scholes for a clock that is nearly even."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc


@pytest.mark.parametrize("parameters", [(0.12, 0.2, -0.14), (0.8, 2.5, -0.5), (0.3, 0.5, 0.4), (0.2, 1.0, 0.0)])
def test_moments_are_the_roots(parameters):
    sigma, nu, theta = parameters
    for q in jc.VarianceGamma(*parameters).moment_bounds(jnp.asarray(0.3)):
        q = float(q)
        assert abs(1.0 - nu * (theta * q + 0.5 * sigma**2 * q * q)) <= 1e-13 * (1.0 + nu * sigma**2 * q * q)


def test_drift_is_what_is_left_at_large_z():
    """ln phi / (i z) tends to the drift."""
    model, t = jc.VarianceGamma(0.2, 0.5, -0.3), jnp.asarray(0.7)
    z = jnp.asarray(1e9 + 0j)
    assert float(jnp.real(model.log_cf(z, t) / (1j * z))) == pytest.approx(float(model.drift(t)), abs=1e-7)


def test_nearly_even_clock_is_black():
    z, t = jnp.asarray([1.5, 3.0 - 0.5j]), jnp.asarray(0.7)
    found = np.asarray(jc.VarianceGamma(0.3, 1e-9, 0.2).log_cf(z, t))
    np.testing.assert_allclose(found, np.asarray(jc.BlackScholes(0.3).log_cf(z, t)), rtol=1e-7)


def test_gradient_is_finite_at_the_poles():
    gradient = jax.grad(lambda z: jnp.real(jc.VarianceGamma(0.2, 0.5, -0.3).log_cf(z * (1.0 + 0j), jnp.asarray(0.7))))
    assert np.isfinite(float(gradient(jnp.asarray(0.0))))
