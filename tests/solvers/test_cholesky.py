"""The unrolled Cholesky solve against numpy, on both sides of the size where the library's takes over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcal.solvers.cholesky import solve_spd


@pytest.mark.parametrize("size", [1, 2, 5, 10, 11, 15])
def test_solves(size):
    random = np.random.default_rng(size)
    half = random.standard_normal((size + 2, size))
    matrix, vector = half.T @ half, random.standard_normal(size)
    found = jax.jit(solve_spd)(jnp.asarray(matrix), jnp.asarray(vector))
    np.testing.assert_allclose(np.asarray(found), np.linalg.solve(matrix, vector), rtol=1e-9)


@pytest.mark.parametrize("size", [3, 12])
def test_not_positive_definite_is_nan(size):
    matrix = np.eye(size)
    matrix[1, 1] = -1.0
    assert np.isnan(np.asarray(solve_spd(jnp.asarray(matrix), jnp.ones(size)))).any()


def test_float32_and_batches():
    random = np.random.default_rng(0)
    half = random.standard_normal((6, 7, 4))
    matrix = jnp.asarray(np.einsum("bij,bik->bjk", half, half), jnp.float32)
    found = jax.vmap(solve_spd)(matrix, jnp.ones((6, 4), jnp.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(np.einsum("bij,bj->bi", matrix, found), 1.0, atol=1e-3)
