"""BlackScholes: a Gaussian law."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxcal as jc


def test_log_cf():
    z, t = jnp.asarray([0.0, 1.5, -1j, 2.0 - 0.5j]), jnp.asarray(0.7)
    found = np.asarray(jc.BlackScholes(0.3).log_cf(z, t))
    u = np.asarray(z)
    np.testing.assert_allclose(found, -0.5 * 0.09 * 0.7 * (u * u + 1j * u), rtol=1e-15, atol=1e-17)
    assert found[0] == found[2] == 0.0  # a law, and a martingale


def test_derivative():
    z, t = jnp.asarray(2.0 - 0.5j), jnp.asarray(0.7)
    slope = jax.jvp(lambda s: jc.BlackScholes(s).log_cf(z, t), (jnp.asarray(0.3),), (jnp.asarray(1.0),))[1]
    u = complex(z)
    np.testing.assert_allclose(complex(slope), -0.3 * 0.7 * (u * u + 1j * u), rtol=1e-14)


def test_float32_stays():
    z, t = jnp.asarray([1.0], jnp.complex64), jnp.asarray(0.5, jnp.float32)
    for sigma in (0.2, jnp.asarray(0.2, jnp.float32)):
        assert jc.BlackScholes(sigma).log_cf(z, t).dtype == jnp.complex64


def test_every_moment_exists():
    lower, upper = jc.BlackScholes(0.2).moment_bounds(jnp.asarray([0.1, 3.0]))
    assert (np.asarray(lower) < -1e3).all()
    assert (np.asarray(upper) > 1e3).all()
