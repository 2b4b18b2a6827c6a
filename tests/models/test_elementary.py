"""Sine, cosine and arc tangent against the C library in extended precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcal.models.elementary import arctangent, sine, sine_cosine

RNG = np.random.default_rng(7)


@pytest.mark.parametrize(("dtype", "largest"), [(np.float64, 5.9), (np.float32, 3.5)])
def test_sine_cosine(dtype, largest):
    x = (RNG.uniform(-1, 1, 20000) * 10 ** RNG.uniform(-6, largest, 20000)).astype(dtype)
    found = [np.asarray(part, np.longdouble) for part in sine_cosine(jnp.asarray(x))]
    exact = x.astype(np.longdouble)
    for part, truth in zip(found, (np.sin(exact), np.cos(exact)), strict=True):
        np.testing.assert_allclose(part, truth, rtol=0, atol=1.5 * np.finfo(dtype).eps)


def test_sine():
    x = RNG.uniform(-1, 1, 20000) * 10 ** RNG.uniform(-6, 5.9, 20000)
    np.testing.assert_allclose(sine(jnp.asarray(x)), np.sin(x), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arctangent(dtype):
    y, x = (RNG.normal(size=20000) * 10 ** RNG.uniform(-4, 4, 20000) for _ in range(2))
    y, x = y.astype(dtype), x.astype(dtype)
    found = arctangent(jnp.asarray(y), jnp.asarray(x))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.arctan2(y, x, dtype=np.longdouble), rtol=4 * np.finfo(dtype).eps)


def test_axes():
    y, x = jnp.asarray([0.0, 0.0, 1.0, -1.0]), jnp.asarray([1.0, -1.0, 0.0, 0.0])
    np.testing.assert_allclose(arctangent(y, x), [0.0, np.pi, np.pi / 2, -np.pi / 2], rtol=1e-15)


def test_derivatives():
    x, y = jnp.asarray(0.7), jnp.asarray(-1.3)
    sine_slope, cosine_slope = jax.jvp(sine_cosine, (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose([sine_slope, cosine_slope], [np.cos(0.7), -np.sin(0.7)], rtol=1e-15)
    np.testing.assert_allclose(jax.grad(arctangent, (0, 1))(y, x), jax.grad(jnp.arctan2, (0, 1))(y, x), rtol=1e-15)
    second = jax.grad(jax.grad(lambda x: sine_cosine(x)[0]))(x)
    np.testing.assert_allclose(second, -np.sin(0.7), rtol=1e-15)


def test_not_a_number():
    bad = jnp.asarray([np.nan, np.inf])
    assert np.isnan(np.stack(sine_cosine(bad))).all()
    assert np.isnan(arctangent(bad[:1], jnp.ones(1))).all()


def test_huge_arguments_stay_bounded():
    assert (np.abs(np.stack(sine_cosine(jnp.asarray([1e9, -1e20, 1e300])))) <= 1.5).all()
