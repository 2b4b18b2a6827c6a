"""Bates: the sum of two exponents, and the intersection of what both allow."""

import jax.numpy as jnp
import numpy as np

import jaxcal as jc

HESTON = (0.04, 1.5, 0.06, 0.7, -0.65)
Z, T = jnp.asarray([1.5, 3.0 - 0.5j, 40.0 + 0.2j]), jnp.asarray(0.7)


def test_sum_of_heston_and_jumps():
    jumps = (2.0, -0.1, 0.15)
    found = np.asarray(jc.Bates(*HESTON, *jumps).log_cf(Z, T))
    parts = np.asarray(jc.Heston(*HESTON).log_cf(Z, T)) + np.asarray(jc.Merton(0.0, *jumps).log_cf(Z, T))
    np.testing.assert_allclose(found, parts, rtol=1e-14)


def test_without_jumps_heston():
    expected = np.asarray(jc.Heston(*HESTON).log_cf(Z, T))
    for jumps in ((0.0, -0.1, 0.15), (3.0, 0.0, 0.0)):
        np.testing.assert_allclose(np.asarray(jc.Bates(*HESTON, *jumps).log_cf(Z, T)), expected, rtol=1e-15)


def test_bounds_are_the_tighter_ones():
    heston, merton, bates = jc.Heston(*HESTON), jc.Merton(0.2, 2.0, -0.1, 0.5), jc.Bates(*HESTON, 2.0, -0.1, 0.5)
    for t in (0.001, 10.0):
        t = jnp.asarray(t)
        h, m, b = (np.array([float(x) for x in model.moment_bounds(t)]) for model in (heston, merton, bates))
        np.testing.assert_array_equal(b, [max(h[0], m[0]), min(h[1], m[1])])
    h, m, b = (np.array([float(x) for x in model.decay_cone()]) for model in (heston, merton, bates))
    np.testing.assert_array_equal(b, [max(h[0], m[0]), min(h[1], m[1])])
