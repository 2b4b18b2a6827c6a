"""DoubleHeston: two independent factors."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

FIRST, SECOND = (0.04, 1.5, 0.06, 0.7, -0.65), (0.02, 0.5, 0.03, 0.3, 0.4)
Z, T = jnp.asarray([1.5, 3.0 - 0.5j, 40.0 + 0.2j]), jnp.asarray(0.7)


def test_which_factor_is_the_first_does_not_matter():
    found = np.asarray(jc.DoubleHeston(*FIRST, *SECOND).log_cf(Z, T))
    np.testing.assert_allclose(np.asarray(jc.DoubleHeston(*SECOND, *FIRST).log_cf(Z, T)), found, rtol=1e-15)
    parts = [np.asarray(jc.Heston(*factor).log_cf(Z, T)) for factor in (FIRST, SECOND)]
    np.testing.assert_allclose(found, parts[0] + parts[1], rtol=1e-15)


def test_one_factor_off():
    found = jc.DoubleHeston(*FIRST, 0.0, 1.0, 0.0, 0.5, 0.3).log_cf(Z, T)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(jc.Heston(*FIRST).log_cf(Z, T)))


@pytest.mark.parametrize("t", [0.01, 1.0, 10.0])
def test_bounds_are_the_tighter_ones(t):
    t = jnp.asarray(t)
    one, two = jc.Heston(*FIRST), jc.Heston(*SECOND)
    both = jc.DoubleHeston(*FIRST, *SECOND)
    for limits in (lambda model: model.moment_bounds(t), lambda model: model.decay_cone()):
        a, b, c = (np.array([float(x) for x in limits(model)]) for model in (one, two, both))
        np.testing.assert_allclose(c, [max(a[0], b[0]), min(a[1], b[1])], rtol=1e-15)
