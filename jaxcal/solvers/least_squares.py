"""min over y in a box of half |fn(y, args)|^2, by any solver."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

RUNNING = -1  # not an Outcome yet
Vector = Float[Array, " p"]  # a number for each parameter
Residuals = Callable[[Vector, Any], Float[Array, " m"]]  # of a vector and further arguments


class AbstractResiduals(ABC):
    """Residuals that know a better way to their Jacobian than forward mode; callable as `Residuals` are."""

    @abstractmethod
    def __call__(self, y: Vector, args: Any) -> Float[Array, " m"]:
        """The residuals."""

    @abstractmethod
    def linearise(self, y: Vector, args: Any) -> tuple[Float[Array, " m"], Float[Array, "m p"]]:
        """The residuals and their Jacobian."""


class Solution(eqx.Module):
    """Where a solver stopped. All fields are arrays, so a Solution passes through `jit` and `vmap`.

    Attributes:
        y: `[p]` the point.
        residual: `[m]` fn there.
        jacobian: `[m, p]` d fn / dy there.
        cost: half the sum of squares.
        gradient: the largest cosine between the residual and a free column of the Jacobian, 0 at a stationary point.
        num_steps: evaluations of fn and its Jacobian after the first.
        outcome: an `Outcome` as a number.
        at_bound: `[p]` whether each coordinate is at a bound.

    Example:
        >>> from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt
        >>> line = least_squares(lambda y, _: 2.0 * y - 6.0, LevenbergMarquardt(), jnp.asarray([0.0]))
        >>> print(f"{line.y[0]:.6f}")
        3.000000
    """

    y: Vector
    residual: Float[Array, " m"]
    jacobian: Float[Array, "m p"]
    cost: Float[Array, ""]
    gradient: Float[Array, ""]
    num_steps: Int[Array, ""]
    outcome: Int[Array, ""]
    at_bound: Array


class AbstractLeastSquaresSolver(eqx.Module):
    """Settings of a solver, and how it moves: `least_squares` and `least_squares_many` run the loop.

    A state is a pytree of arrays whose shapes and dtypes a step keeps.
    """

    @abstractmethod
    def init(self, fn: Residuals, y0: Vector, args: Any, lower: Vector, upper: Vector) -> Any:
        """The state before the first evaluation of `fn`; a start outside the box is moved into it."""

    @abstractmethod
    def step(self, fn: Residuals, state: Any, args: Any, lower: Vector, upper: Vector, max_step: float) -> Any:
        """One step within the box, of at most `max_step` in any coordinate."""

    @abstractmethod
    def outcome(self, state: Any) -> Int[Array, ""]:
        """`RUNNING`, or the `Outcome` that ended it."""

    @abstractmethod
    def finish(self, state: Any, lower: Vector, upper: Vector) -> Solution:
        """What a state says about the point it stopped at."""


def least_squares(
    fn: Residuals,
    solver: AbstractLeastSquaresSolver,
    y0: Vector,
    args: Any = None,
    *,
    lower: Float[Array | np.ndarray, " p"] | float | None = None,
    upper: Float[Array | np.ndarray, " p"] | float | None = None,
    max_step: float = math.inf,
    run: Bool[Array, ""] | bool = True,
) -> Solution:
    """Minimise half the sum of squares of `fn(y, args)` over the box `lower <= y <= upper`.

    Args:
        fn: maps `[p]` to residuals `[m]`; differentiable by JAX.
        solver: for instance `LevenbergMarquardt()`.
        y0: `[p]` the start; moved into the box where it lies outside.
        args: passed to `fn`; any pytree.
        lower, upper: `[p]` or numbers; no bound where absent.
        max_step: the longest step in any coordinate. Where coordinates have a natural scale (1 is a
            factor of e on a logarithmic one), this keeps a start far from the optimum from being thrown to the bounds.
        run: where False, not a step is made and nothing is evaluated: only `y` is one of the solution then.

    Returns:
        A `Solution`. A start where `fn` is not finite is not an error: the outcome says so. May be called inside `jit`
        and `vmap`, and should be called inside `jit` where speed matters.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt
        >>> rosenbrock = lambda y, _: jnp.stack([10 * (y[1] - y[0] ** 2), 1 - y[0]])
        >>> solution = least_squares(rosenbrock, LevenbergMarquardt(), jnp.asarray([-1.2, 1.0]))
        >>> [round(float(x), 6) for x in solution.y]
        [1.0, 1.0]
    """
    y0 = jnp.asarray(y0)

    def bound(value: Float[Array | np.ndarray, " p"] | float | None, default: float) -> Vector:
        return jnp.broadcast_to(jnp.asarray(default if value is None else value, y0.dtype), y0.shape)

    low, high = bound(lower, -jnp.inf), bound(upper, jnp.inf)
    state = jax.lax.while_loop(
        lambda state: (solver.outcome(state) == RUNNING) & run,
        lambda state: solver.step(fn, state, args, low, high, max_step),
        solver.init(fn, y0, args, low, high),
    )
    return solver.finish(state, low, high)


def linearised(fn: Residuals, y: Vector, args: Any) -> tuple[Float[Array, " m"], Float[Array, "m p"]]:
    """Residuals and their Jacobian: their own, or in forward mode, since there are few parameters.

    Example:
        >>> residual, jacobian = linearised(lambda y, _: y**2, jnp.asarray([1.0, 3.0]), None)
        >>> jacobian.tolist()
        [[2.0, 0.0], [0.0, 6.0]]
    """
    if isinstance(fn, AbstractResiduals):
        return fn.linearise(y, args)
    column = jax.vmap(lambda v: jax.jvp(lambda y: fn(y, args), (y,), (v,)), out_axes=(None, -1))
    return column(jnp.eye(y.shape[0], dtype=y.dtype))


def held(y: Vector, gradient: Vector, lower: Vector, upper: Vector) -> Bool[Array, " p"]:
    """Which parameters are at a bound beyond which the cost falls.

    Example:
        >>> zero, one = jnp.zeros(2), jnp.ones(2)
        >>> held(zero, jnp.asarray([0.5, -0.5]), zero, one).tolist()
        [True, False]
    """
    return ((y <= lower) & (gradient > 0)) | ((y >= upper) & (gradient < 0))


def in_box(y: Vector, lower: Vector, upper: Vector) -> Vector:
    """`y` between its bounds, and at a bound where only rounding is between: a step to a bound may end beside it.

    Example:
        >>> y = jnp.asarray([-1.0, 0.5, 1.0 - 1e-15])
        >>> in_box(y, jnp.zeros(3), jnp.ones(3)).tolist()
        [0.0, 0.5, 1.0]
    """
    rounding = 64.0 * float(jnp.finfo(y.dtype).eps)
    near_lower, near_upper = (jnp.where(jnp.isfinite(x), rounding * (1.0 + jnp.abs(x)), 0.0) for x in (lower, upper))
    return jnp.where(y - lower <= near_lower, lower, jnp.where(upper - y <= near_upper, upper, y))


def largest_cosine(
    gradient: Vector, squares: Vector, size: Float[Array, ""], fixed: Bool[Array, " p"]
) -> Float[Array, ""]:
    """Of the angles between the residuals and the columns of their Jacobian: 0 at an optimum, at most 1.

    Args:
        gradient: of half the sum of squares.
        squares: sums of squares of the columns.
        size: sum of squares of the residuals; more, where they are so small that rounding gives them their direction.
        fixed: parameters left out.

    Example:
        >>> two = jnp.asarray([3.0, 0.0]), jnp.asarray([1.0, 1.0])
        >>> print(largest_cosine(*two, jnp.asarray(25.0), jnp.asarray([False, False])))
        0.6
    """
    norms = jnp.sqrt(jnp.where(squares > 0, squares, 1.0) * jnp.where(size > 0, size, 1.0))
    return jnp.max(jnp.where(fixed, 0.0, jnp.abs(gradient) / norms))
