"""NIG: the edges of its domain, its drift and its variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc


def test_moments_are_the_tails():
    lower, upper = jc.NIG(15.0, -5.0, 0.5).moment_bounds(jnp.asarray([0.1, 1.0]))
    np.testing.assert_array_equal(np.asarray(lower), [-10.0, -10.0])
    np.testing.assert_array_equal(np.asarray(upper), [20.0, 20.0])


def test_last_moment_is_the_first():
    """alpha = beta + 1: E[exp X] is finite, and no moment beyond."""
    model = jc.NIG(3.0, 2.0, 0.5)
    values = np.asarray(model.log_cf(jnp.asarray([-1j, -0.999999j, 2.0 - 0.5j]), jnp.asarray(1.0)))
    assert values[0] == 0.0
    assert np.isfinite(values).all()


@pytest.mark.parametrize("parameters", [(15.0, -5.0, 0.5), (6.0, 2.0, 2.8)])
def test_cone_of_decay(parameters):
    """|phi| falls just inside the cone and grows just outside, where the cone is not that of the branch cuts."""
    model, t = jc.NIG(*parameters), jnp.asarray(0.5)
    for edge, outward in zip(model.decay_cone(), (-1, 1), strict=True):
        for turn, sign in ((-0.02, -1), (0.02, 1)):
            angle = float(edge) + outward * turn
            if abs(angle) < np.pi / 2:
                z = jnp.asarray(1e6 * np.exp(1j * angle))
                assert sign * float(jnp.real(model.log_cf(z, t))) > 0


def test_delta_in_units_of_variance():
    interval = jc.NIG.bounds["delta"]
    model = jc.NIG(15.0, -5.0, 0.5)
    variance = interval.relative(0.5, model)
    second = jax.jacfwd(jax.jacfwd(lambda u: jnp.real(model.log_cf(u * (1.0 + 0j), jnp.asarray(1.0)))))
    assert float(variance) == pytest.approx(-float(second(jnp.asarray(0.0))), rel=1e-10)


def test_alpha_in_units_that_keep_the_domain():
    for beta in (-7.0, -0.5, 0.0, 3.0):
        least = jc.NIG.bounds["alpha"].absolute(1.0, jc.NIG(50.0, beta, 1.0))
        jc.NIG(1.001 * least, beta, 1.0)
        with pytest.raises(ValueError, match="alpha"):
            jc.NIG(0.999 * least, beta, 1.0)
