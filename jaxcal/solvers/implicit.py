"""The derivative of a minimum in the data it was fitted to, by the implicit function theorem."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

_EVALUATIONS = 4  # of the Hessian: Newton's method is at rounding after two or three steps from a fitted point


class Minimum(eqx.Module):
    """A minimum, and how it moves with the data.

    Attributes:
        y: `[p]` the point, after a few steps of Newton's method.
        slope: `[p, m]` dy / d data; 0 for held coordinates, NaN where the Hessian is not positive definite.
        hessian: `[p, p]` second derivatives of the objective in y.
        decrement: half of g' H^-1 g over the free coordinates: by how much the objective might still fall.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> found = minimum(lambda y, data: 0.5 * jnp.sum((y - data) ** 2), jnp.zeros(1), jnp.asarray([1.0, 3.0]))
        >>> isinstance(found, Minimum), found.y.tolist()
        (True, [2.0])
    """

    y: Float[Array, " p"]
    slope: Float[Array, "p m"]
    hessian: Float[Array, "p p"]
    decrement: Float[Array, ""]


def minimum(
    fn: Callable[[Float[Array, " p"], Float[Array, " m"]], Float[Array, ""]],
    y: Float[Array, " p"],
    data: Float[Array, " m"],
    held: Bool[Array, " p"] | None = None,
) -> Minimum:
    """The minimum of `fn(y, data)` in y near `y`, and its derivative dy / d data = -H^-1 d2 fn / dy d data.

    H is the full Hessian: for least squares J' J plus the residuals times their second derivatives, which J' J alone
    misses. The linear system is solved once for all data.

    Args:
        fn: the objective; twice differentiable by JAX, in reverse mode too.
        y: `[p]` a point at or very near the minimum.
        data: `[m]`.
        held: `[p]` coordinates that stay where they are, for instance at an active bound; none by default.

    Returns:
        A `Minimum`, NaN in `slope` where no minimum is: the Hessian of the free coordinates is not positive definite.

    References:
        A. Griewank, A. Walther, Evaluating Derivatives (2nd ed., 2008), ch. 15, implicit differentiation.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> def misfit(y, data):
        ...     return 0.5 * jnp.sum((jnp.exp(y) - data) ** 2)
        >>> found = minimum(misfit, jnp.asarray([0.6]), jnp.asarray([1.0, 3.0]))
        >>> [round(float(x), 9) for x in jnp.exp(found.y)], [round(float(x), 9) for x in found.slope[0]]
        ([2.0], [0.25, 0.25])
    """
    gradient = jax.grad(fn, argnums=(0, 1))
    fixed = jnp.zeros(y.shape, bool) if held is None else held
    free = jnp.where(fixed, 0.0, 1.0).astype(y.dtype)
    basis = jnp.eye(y.shape[0], dtype=y.dtype)

    def curvature(at: Array) -> tuple[Array, Array, Array]:
        """Gradient, Hessian and mixed derivatives; a direction at a time, so that memory stays that of one. The mixed
        ones are needed at the minimum only, but would be a program as large as this one.
        """
        (here, _), (columns, mixed) = jax.lax.map(lambda v: jax.jvp(lambda y: gradient(y, data), (at,), (v,)), basis)
        return here[0], 0.5 * (columns + columns.T), mixed

    def newton(_: Int[ArrayLike, ""], state: tuple[Array, ...]) -> tuple[Array, ...]:
        """Evaluates the trial point, and keeps it if what is left to gain there is less."""
        y, hessian, mixed, decrement, trial = state
        g, h, m = curvature(trial)
        step = _solve(h, g[:, None] * free[:, None], free)[:, 0]
        left = 0.5 * jnp.abs(step @ (g * free))
        better = left < decrement
        y, hessian, mixed = (jnp.where(better, new, x) for new, x in ((trial, y), (h, hessian), (m, mixed)))
        # from a point that was refused no step is taken
        following = jnp.where(better & jnp.all(jnp.isfinite(step)), trial - step, y)
        return y, hessian, mixed, jnp.where(better, left, decrement), following

    unknown = jnp.full_like(basis, jnp.nan), jnp.full((y.size, data.size), jnp.nan, data.dtype)
    start = (y, *unknown, jnp.asarray(jnp.inf, y.dtype), y)
    y, hessian, mixed, decrement, _ = jax.lax.fori_loop(0, _EVALUATIONS, newton, start)
    slope = jnp.where(fixed[:, None], 0.0, -_solve(hessian, mixed * free[:, None], free))
    return Minimum(y, slope, hessian, decrement)


def _solve(matrix: Float[Array, "p p"], right: Float[Array, "p m"], free: Float[Array, " p"]) -> Float[Array, "p m"]:
    """Over the free coordinates, scaled to a unit diagonal; NaN where the matrix is not positive definite."""
    inside = matrix * (free[:, None] * free[None, :]) + jnp.diag(1.0 - free)
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(inside)))
    scale = jnp.where(scale > 0, scale, 1.0)
    factor = jnp.linalg.cholesky(inside / (scale[:, None] * scale[None, :]))
    half = jax.scipy.linalg.solve_triangular(factor, right / scale[:, None], lower=True)
    return jax.scipy.linalg.solve_triangular(factor.T, half, lower=False) / scale[:, None]
