"""Any optimiser of optax behind the call of `least_squares`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Integer

from jaxcal._status import Outcome
from jaxcal.solvers.least_squares import (
    RUNNING,
    AbstractLeastSquaresSolver,
    Residuals,
    Solution,
    Vector,
    held,
    largest_cosine,
    linearised,
)

_ZERO = 1e-7  # root mean square of residuals so small that rounding gives them their direction


class _State(NamedTuple):
    y: Vector  # to be evaluated next
    best: Vector
    residual: Float[Array, " m"]
    jacobian: Float[Array, "m p"]
    cost: Float[Array, ""]
    angle: Float[Array, ""]
    optimiser: Any
    num_steps: Int[Array, ""]
    outcome: Int[Array, ""]


class Optax(AbstractLeastSquaresSolver):
    """An optimiser of optax on half the sum of squares, projected onto the box after every step.

    The result is the best point on the way. It counts as converged only where the gradient there, of all residuals, is
    zero: where the cosine between the residuals and every free column of their Jacobian is at most `gtol`. Then the
    solver stops, too. For calibrations `LevenbergMarquardt` takes fewer steps: docs/optimisers.md has figures. This is
    for what it lacks: steps of your own, schedules, and noise.

    Args:
        optimiser: what `optax.adam(0.05)`, `optax.lbfgs()` or `optax.chain(...)` make, schedules included. It is
            compiled in, and known by its identity: keep it, or the whole `Optax`, and pass it again, as a new one
            compiles anew. Or a function that makes one from a `learning_rate`, such as `optax.adam`, which does not.
        learning_rate: for such a function; another number does not recompile. Parameters are on their search scales:
            0.05 is 5 % of a positive one.
        num_steps: evaluations of the residuals and their Jacobian, at most; those of a line search are not counted.
        share: of the residuals that count in a step, each drawn with this probability, anew for each step. All are
            evaluated, so a step is no cheaper; its noise is that of a minibatch.
        seed: of those draws.
        gtol: see above.

    Raises:
        ValueError: a share that is not above 0 and at most 1; a learning rate for what takes none, or none for what
            takes one.

    Example:
        >>> import jax, optax; jax.config.update("jax_enable_x64", True)
        >>> from jaxcal.solvers.least_squares import least_squares
        >>> rosenbrock = lambda y, _: jnp.stack([10 * (y[1] - y[0] ** 2), 1 - y[0]])
        >>> solution = least_squares(rosenbrock, Optax(optax.lbfgs()), jnp.asarray([-1.2, 1.0]))
        >>> [round(float(x), 6) for x in solution.y], int(solution.outcome)
        ([1.0, 1.0], 0)
    """

    optimiser: Any = eqx.field(static=True)
    learning_rate: Float[Array, ""] | float | None = None
    num_steps: Int[Array, ""] | int = 1000
    share: Float[Array, ""] | float = 1.0
    seed: Integer[Array, ""] | int = 0
    gtol: Float[Array, ""] | float = 1e-5

    def __check_init__(self) -> None:
        if isinstance(self.share, float | int) and not 0.0 < self.share <= 1.0:
            raise ValueError(f"the share of the residuals in a step is {self.share}: it must be above 0 and at most 1")
        ready = isinstance(self.optimiser, optax.GradientTransformation)
        if not ready and not callable(self.optimiser):
            raise ValueError(f"an optimiser of optax is needed, not {type(self.optimiser).__name__}")
        if ready != (self.learning_rate is None):
            rule = "has its own learning rate" if ready else "needs a learning rate"
            raise ValueError(f"the optimiser {rule}: learning_rate is {self.learning_rate}")

    def _optimiser(self) -> Any:
        made = self.optimiser if self.learning_rate is None else self.optimiser(self.learning_rate)
        return optax.with_extra_args_support(made)

    def init(self, fn: Residuals, y0: Vector, args: Any, lower: Vector, upper: Vector) -> "_State":
        start, dtype = jnp.clip(y0, lower, upper), y0.dtype
        num_residuals = jax.eval_shape(lambda y: fn(y, args), y0).shape[0]
        inf = jnp.asarray(jnp.inf, dtype)
        with _lenient():
            optimiser = jax.tree.map(jnp.asarray, self._optimiser().init(start))
        return _State(
            start, start, jnp.zeros((num_residuals,), dtype), jnp.zeros((num_residuals, y0.shape[0]), dtype), inf, inf,
            optimiser, jnp.asarray(-1, jnp.int32), jnp.asarray(RUNNING, jnp.int32),
        )  # fmt: skip

    def outcome(self, state: "_State") -> Int[Array, ""]:
        return state.outcome

    def finish(self, state: "_State", lower: Vector, upper: Vector) -> Solution:
        return Solution(
            state.best, state.residual, state.jacobian, state.cost, state.angle, state.num_steps, state.outcome,
            (state.best <= lower) | (state.best >= upper),
        )  # fmt: skip

    def step(
        self, fn: Residuals, state: "_State", args: Any, lower: Vector, upper: Vector, max_step: float
    ) -> "_State":
        y, dtype = state.y, state.y.dtype

        residual, jacobian = linearised(fn, y, args)
        cost = 0.5 * (residual @ residual)
        finite = jnp.isfinite(cost) & jnp.all(jnp.isfinite(jacobian))
        first = jnp.isinf(state.cost)

        gradient = residual @ jacobian
        size = jnp.maximum(2.0 * cost, residual.shape[0] * _ZERO**2)
        angle = largest_cosine(gradient, jnp.sum(jacobian**2, axis=0), size, held(y, gradient, lower, upper))

        key = jax.random.fold_in(jax.random.key(self.seed), state.num_steps + 1)
        share = jnp.asarray(self.share, dtype)
        drawn = jax.random.uniform(key, residual.shape, dtype) < share
        weight = jnp.where(drawn, 1.0 / share, 0.0)
        slope = (weight * residual) @ jacobian
        slope = jnp.where(held(y, slope, lower, upper) | ~finite, 0.0, slope)

        @jax.custom_jvp
        def value(y: Array) -> Array:
            return 0.5 * jnp.sum(weight * fn(jnp.clip(y, lower, upper), args) ** 2)

        @value.defjvp
        def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
            # for a line search: residuals have few parameters, so forward mode, as everywhere here
            inside = (primals[0] >= lower) & (primals[0] <= upper)
            residual, jacobian = linearised(fn, jnp.clip(primals[0], lower, upper), args)
            slope = jnp.where(inside, (weight * residual) @ jacobian, 0.0)
            return 0.5 * jnp.sum(weight * residual**2), slope @ tangents[0]

        with _lenient():
            move, optimiser = self._optimiser().update(
                slope,
                state.optimiser,
                y,
                value=0.5 * jnp.sum(weight * residual**2),
                grad=slope,
                value_fn=lambda y: value(jnp.asarray(y, dtype)),
            )
        # a schedule or a line search may compute in another precision than the quotes
        optimiser = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), optimiser, state.optimiser)
        move = jnp.clip(jnp.asarray(move, dtype), -max_step, max_step)

        better = finite & (first | (cost < state.cost))
        num_steps = state.num_steps + 1
        # at a point that is not a number there is no way on; where the search stands still, no other step will come
        lost = ~finite | ~jnp.all(jnp.isfinite(move)) | (jnp.all(jnp.clip(y + move, lower, upper) == y) & (share >= 1))
        converged = finite & (angle <= self.gtol)
        better |= converged
        outcome = jnp.where(
            converged, Outcome.CONVERGED,
            jnp.where(lost, Outcome.STALLED, jnp.where(num_steps >= self.num_steps, Outcome.STEP_LIMIT, RUNNING)),
        )  # fmt: skip
        outcome = jnp.where(first & ~finite, Outcome.NOT_FINITE, outcome)

        def pick(new: Array, old: Array) -> Array:
            return jnp.where(better, new, old)

        return _State(
            jnp.clip(y + jnp.where(jnp.isfinite(move), move, 0.0), lower, upper), pick(y, state.best),
            pick(residual, state.residual), pick(jacobian, state.jacobian), pick(cost, state.cost),
            pick(angle, state.angle), optimiser, num_steps, outcome.astype(jnp.int32),
        )  # fmt: skip


@contextmanager
def _lenient() -> Iterator[None]:
    """Optax is written for the default promotion of dtypes and ranks, which a caller may have made stricter."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
