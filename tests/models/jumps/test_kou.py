"""Kou: its moments end where the exponential tails end."""

import jax.numpy as jnp
import numpy as np

import jaxcal as jc


def test_moments_are_the_tails():
    model, t = jc.Kou(0.2, 1.0, 0.4, 3.0, 7.0), jnp.asarray([0.1, 2.0])
    lower, upper = model.moment_bounds(t)
    np.testing.assert_array_equal(np.asarray(lower), [-7.0, -7.0])
    np.testing.assert_array_equal(np.asarray(upper), [3.0, 3.0])
    near = np.real(np.asarray(model.log_cf(jnp.asarray([-2.999999j, 6.999999j]), jnp.asarray(1.0))))
    assert (near > 1e5).all()


def test_without_jumps_black():
    z, t = jnp.asarray([1.5, 3.0 - 0.5j]), jnp.asarray(0.7)
    found = np.asarray(jc.Kou(0.3, 0.0, 0.4, 10.0, 5.0).log_cf(z, t))
    np.testing.assert_allclose(found, np.asarray(jc.BlackScholes(0.3).log_cf(z, t)), rtol=1e-15)


def test_no_jump_up_needs_no_eta_up():
    z, t = jnp.asarray([1.5, 3.0 - 0.5j]), jnp.asarray(0.7)
    one, other = (np.asarray(jc.Kou(0.3, 2.0, 0.0, up, 5.0).log_cf(z, t)) for up in (2.0, 50.0))
    np.testing.assert_array_equal(one, other)
