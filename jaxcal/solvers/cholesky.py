"""Small symmetric positive definite systems, unrolled: a batched library call costs more than the arithmetic."""

import jax.numpy as jnp
from jaxtyping import Array, Float

_UNROLLED = 10  # above it the unrolled program is long to compile, and the library's call pays


def solve_spd(matrix: Float[Array, "p p"], vector: Float[Array, " p"]) -> Float[Array, " p"]:
    """Solve `matrix x = vector`; NaN where `matrix` is not positive definite."""
    size = vector.shape[0]
    if size > _UNROLLED:
        factor = jnp.linalg.cholesky(matrix)
        half = jnp.linalg.solve(factor, vector)
        return jnp.linalg.solve(factor.T, half)
    lower: list[list[Array]] = []
    half: list[Array] = []
    for i in range(size):
        row: list[Array] = []
        for j in range(i):
            row.append((matrix[i, j] - _dot(row, lower[j])) * lower[j][j])
        # the diagonal holds reciprocals: each is used many times
        row.append(1.0 / jnp.sqrt(matrix[i, i] - _dot(row, row)))
        lower.append(row)
        half.append((vector[i] - _dot(row[:i], half)) * row[i])
    solution: list[Array] = [vector[0]] * size
    for i in reversed(range(size)):
        tail = [lower[j][i] for j in range(i + 1, size)]
        solution[i] = (half[i] - _dot(tail, solution[i + 1 :])) * lower[i][i]
    return jnp.stack(solution)


def _dot(a: list[Array], b: list[Array]) -> Array | float:
    total: Array | float = 0.0
    for x, y in zip(a, b, strict=False):
        total = total + x * y
    return total
