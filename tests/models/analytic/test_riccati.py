"""Derivatives of the bucket recursion: forward, reverse, second, in parameters, point and time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

KNOTS = (0.5, 1.5)
MODEL = (0.04, (1.5, 3.0, 0.8), (0.06, 0.03, 0.09), (0.7, 0.4, 0.9), (-0.65, -0.3, -0.8), KNOTS)
POINTS = np.array([0.7, 12.0, 300.0, 3.0 - 0.5j, -0.3j, 1e-7, 5 * np.exp(0.2j) - 0.5j, 40 * np.exp(-0.2j) - 0.5j])


@jax.jit
def log_cf(model, z, t):
    return model.log_cf(z, t)


def split(vector):
    buckets = [vector[1 + 3 * i : 4 + 3 * i] for i in range(4)]
    return jc.PiecewiseHeston(vector[0], *buckets, knots=jnp.asarray(KNOTS))


VECTOR = jnp.asarray(np.concatenate([np.atleast_1d(x) for x in MODEL[:5]]))


@jax.jit
def parts(vector, z, t):
    found = split(vector).log_cf(z, t)
    return jnp.concatenate([jnp.real(found), jnp.imag(found)])


forward_slopes, reverse_slopes = (jax.jit(d(parts)) for d in (jax.jacfwd, jax.jacrev))
curvature = jax.jit(jax.hessian(parts))


@pytest.mark.parametrize("years", [0.3, 0.9, 6.0])
def test_derivatives_in_every_entry(years):
    """Forward = reverse = finite difference; parameters of buckets after `t` have a gradient of exactly zero."""
    z, t = jnp.asarray(POINTS), jnp.asarray(years)
    forward, reverse = (np.asarray(d(VECTOR, z, t)) for d in (forward_slopes, reverse_slopes))
    np.testing.assert_allclose(forward, reverse, rtol=1e-11, atol=1e-13)
    for i, x in enumerate(np.asarray(VECTOR)):
        h = 1e-3 * abs(x)
        ahead = [np.asarray(parts(VECTOR + n * h * jnp.eye(13)[i], z, t)) for n in (-2, -1, 1, 2)]
        difference = (ahead[0] - ahead[3] - 8 * (ahead[1] - ahead[2])) / (12 * h)
        size = np.abs(forward[:, i]).max() + 1e-3
        np.testing.assert_allclose(forward[:, i], difference, rtol=1e-7, atol=1e-9 * size)
    later = [1 + 3 * field + bucket for field in range(4) for bucket in range(3) if years <= (0.0, *KNOTS)[bucket]]
    assert (forward[:, later] == 0).all()
    assert (forward[:, [i for i in range(13) if i not in later]] != 0).any(axis=0).all()


def test_second_derivatives():
    """The rule is differentiable itself, and its second derivatives are symmetric."""
    z, t = jnp.asarray(POINTS[3:5]), jnp.asarray(2.0)
    found = np.asarray(curvature(VECTOR, z, t))
    np.testing.assert_allclose(found, np.swapaxes(found, 1, 2), rtol=1e-8, atol=1e-10)
    for i, x in enumerate(np.asarray(VECTOR)):
        h = 1e-4 * abs(x)
        up, down = (np.asarray(forward_slopes(VECTOR + s * h * jnp.eye(13)[i], z, t)) for s in (1, -1))
        np.testing.assert_allclose(found[:, i], (up - down) / (2 * h), rtol=1e-5, atol=1e-6 * np.abs(found).max())


def test_derivatives_in_point_and_time():
    model = jax.tree.map(jnp.asarray, jc.PiecewiseHeston(*MODEL))
    z = jnp.asarray(POINTS)
    for years in (0.3, 0.9, 6.0):
        t = jnp.full(z.shape, years)
        for i, h in ((0, 1e-4), (1, 1e-4)):
            direction = tuple(jnp.ones_like(x) if i == j else jnp.zeros_like(x) for j, x in enumerate((z, t)))
            found = np.asarray(slope(model, (z, t), direction))
            moved = [(z + n * h * direction[0], t + n * h * direction[1]) for n in (-2, -1, 1, 2)]
            ahead = [np.asarray(log_cf(model, *at)) for at in moved]
            difference = (ahead[0] - ahead[3] - 8 * (ahead[1] - ahead[2])) / (12 * h)
            np.testing.assert_allclose(found, difference, rtol=1e-8, atol=1e-8)
    # at a knot the derivative jumps: the one returned lies between its two sides
    t = jnp.full(z.shape, KNOTS[0])
    sides = [np.asarray(slope(model, (z, t + h), (jnp.zeros_like(z), jnp.ones_like(t)))) for h in (-1e-9, 0.0, 1e-9)]
    np.testing.assert_allclose(sides[1], 0.5 * (sides[0] + sides[2]), rtol=1e-6)


@jax.jit
def slope(model, at, direction):
    return jax.jvp(model.log_cf, at, direction)[1]


def test_vmap_over_models():
    z, t = jnp.asarray(POINTS), jnp.asarray(2.0)
    batch = jnp.stack([VECTOR, 0.8 * VECTOR])
    found = jax.jit(jax.vmap(lambda vector: split(vector).log_cf(z, t)))(batch)
    for vector, row in zip(batch, np.asarray(found), strict=True):
        np.testing.assert_allclose(row, np.asarray(log_cf(split(vector), z, t)), rtol=1e-13)


def test_one_program_for_any_knots():
    """Other knots and parameters compile nothing; the program does not grow with the number of buckets."""
    traces = []

    @jax.jit
    def log_cf_of(model, z, t):
        traces.append(1)
        return model.log_cf(z, t)

    z, t = jnp.asarray(POINTS), jnp.asarray(2.0)
    log_cf_of(jax.tree.map(jnp.asarray, jc.PiecewiseHeston(*MODEL)), z, t)
    log_cf_of(jax.tree.map(jnp.asarray, jc.PiecewiseHeston(0.1, *MODEL[1:5], (0.2, 3.0))), z, t)
    assert len(traces) == 1
    sizes = []
    heston = jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65)
    for size in (2, 9):
        lifted = jc.PiecewiseHeston.of(heston, np.arange(1.0, size), ("kappa", "theta", "sigma", "rho"))
        model = jax.tree.map(jnp.asarray, lifted)
        sizes.append(len(log_cf_of.lower(model, z, t).as_text().splitlines()))
    assert sizes[1] == sizes[0]
