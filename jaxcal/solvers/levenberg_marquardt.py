"""Levenberg-Marquardt for small dense problems, in a box, as one compiled loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcal._status import Outcome
from jaxcal.solvers.cholesky import solve_spd
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver, Solution

_RUNNING = -1


class _State(NamedTuple):
    y: Float[Array, " p"]
    residual: Float[Array, " m"]
    jacobian: Float[Array, "m p"]
    cost: Float[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    scale: Float[Array, " p"]
    num_steps: Int[Array, ""]
    outcome: Int[Array, ""]


class LevenbergMarquardt(AbstractLeastSquaresSolver):
    """Damped Gauss-Newton steps, accepted on the ratio of actual to predicted reduction, projected onto the box.

    The damping follows H. B. Nielsen, "Damping parameter in Marquardt's method" (IMM-REP-1999-05): divided by up to ten
    after a good step, multiplied by 2, 4, 8, ... after bad ones; columns are scaled by their largest norm so far
    (J. More, "The Levenberg-Marquardt algorithm", 1978). A parameter at its bound whose descent direction points outside
    is held there for the step.

    Converged means one of: the step *and* the predicted reduction of the cost are below tolerance; the residual is
    orthogonal to every free column of the Jacobian; the residual itself is zero to `atol`.

    Args:
        xtol: step in a parameter (on its search scale, so relative for positive parameters).
        ftol: predicted reduction of the cost, relative to the cost.
        gtol: cosine between the residual and a column of the Jacobian.
        atol: root mean square of the residuals that counts as a perfect fit.
        max_steps: evaluations of the residuals and their Jacobian.
        damping: the initial damping, relative to the scaled normal equations.

    Numbers may be changed without recompiling.

    Example:
        >>> LevenbergMarquardt(max_steps=50).max_steps
        50
    """

    xtol: Float[Array, ""] | float = 1e-8
    ftol: Float[Array, ""] | float = 1e-10
    gtol: Float[Array, ""] | float = 1e-9
    atol: Float[Array, ""] | float = 1e-11
    max_steps: Int[Array, ""] | int = 200
    damping: Float[Array, ""] | float = 1e-3

    def solve(
        self,
        fn: Callable[[Float[Array, " p"], Any], Float[Array, " m"]],
        y0: Float[Array, " p"],
        args: Any,
        lower: Float[Array, " p"],
        upper: Float[Array, " p"],
    ) -> Solution:
        """See `least_squares`."""
        eps = float(jnp.finfo(y0.dtype).eps)
        basis = jnp.eye(y0.shape[0], dtype=y0.dtype)

        def linearise(y: Array) -> tuple[Array, Array]:
            column = jax.vmap(lambda v: jax.jvp(lambda y: fn(y, args), (y,), (v,)), out_axes=(None, -1))
            return column(basis)

        def held(y: Array, gradient: Array) -> Array:
            return ((y <= lower) & (gradient > 0)) | ((y >= upper) & (gradient < 0))

        def cosine(gradient: Array, squares: Array, cost: Array, fixed: Array) -> Array:
            norms = jnp.sqrt(jnp.where(squares > 0, squares, 1.0) * jnp.where(cost > 0, 2.0 * cost, 1.0))
            return jnp.max(jnp.where(fixed, 0.0, jnp.abs(gradient) / norms))

        def step(state: _State) -> _State:
            jacobian, y = state.jacobian, state.y
            gradient = state.residual @ jacobian
            normal = jacobian.T @ jacobian
            fixed = held(y, gradient)
            scale = jnp.maximum(state.scale, jnp.diagonal(normal))
            free = jnp.where(fixed, 0.0, 1.0).astype(y.dtype)
            # a column that is zero moves nothing: its parameter stays, at unit curvature
            diagonal = jnp.where(fixed | (scale <= 0), 1.0, state.damping * scale)
            damped = normal * (free[:, None] * free[None, :]) + jnp.diag(diagonal)
            raw = -solve_spd(damped, free * gradient)
            trial = jnp.clip(y + raw, lower, upper)
            delta = trial - y
            residual, new_jacobian = linearise(trial)
            cost = 0.5 * (residual @ residual)
            predicted = -(gradient @ delta) - 0.5 * (delta @ (normal @ delta))
            finite = jnp.isfinite(cost) & jnp.all(jnp.isfinite(new_jacobian)) & jnp.all(jnp.isfinite(delta))
            ratio = jnp.where(finite & (predicted > 0), (state.cost - cost) / jnp.where(predicted > 0, predicted, 1.0), -1.0)
            accept = ratio > 1e-4

            shrink = jnp.maximum(0.1, 1.0 - (2.0 * ratio - 1.0) ** 3)
            damping = jnp.where(accept, jnp.maximum(state.damping * shrink, 1e-12), state.damping * state.growth)
            growth = jnp.where(accept, 2.0, 2.0 * state.growth)

            angle = cosine(gradient, jnp.diagonal(normal), state.cost, fixed)
            small_step = jnp.max(jnp.abs(delta)) <= self.xtol
            small_gain = (jnp.abs(predicted) <= self.ftol * state.cost) & (state.damping <= 1.0)
            new_angle = cosine(residual @ new_jacobian, jnp.sum(new_jacobian**2, axis=0), cost, held(trial, residual @ new_jacobian))
            perfect = cost <= 0.5 * residual.shape[0] * self.atol**2
            converged = accept & ((small_step & small_gain) | (new_angle <= self.gtol) | perfect)
            # at the rounding floor no step is accepted although nothing is left to gain
            floor = ~accept & ((angle <= self.gtol) | (small_gain & (angle <= 1e-5)) | (predicted <= 4.0 * eps * state.cost) & (angle <= 1e-3))
            stuck = ~accept & ((damping > 1e12) | (jnp.max(jnp.abs(delta)) <= eps))
            num_steps = state.num_steps + 1
            outcome = jnp.where(
                converged | floor,
                Outcome.CONVERGED,
                jnp.where(stuck, Outcome.STALLED, jnp.where(num_steps >= self.max_steps, Outcome.STEP_LIMIT, _RUNNING)),
            )

            def pick(new: Array, old: Array) -> Array:
                return jnp.where(accept, new, old)

            return _State(
                pick(trial, y), pick(residual, state.residual), pick(new_jacobian, jacobian), pick(cost, state.cost),
                damping, growth, scale, num_steps, outcome.astype(jnp.int32),
            )  # fmt: skip

        start = jnp.clip(y0, lower, upper)
        residual, jacobian = linearise(start)
        cost = 0.5 * (residual @ residual)
        usable = jnp.isfinite(cost) & jnp.all(jnp.isfinite(jacobian))
        perfect = cost <= 0.5 * residual.shape[0] * self.atol**2
        outcome = jnp.where(usable, jnp.where(perfect, Outcome.CONVERGED, _RUNNING), Outcome.NOT_FINITE)
        state = _State(
            start, residual, jacobian, cost, jnp.asarray(self.damping, cost.dtype), jnp.asarray(2.0, cost.dtype),
            jnp.zeros_like(start), jnp.asarray(0, jnp.int32), outcome.astype(jnp.int32),
        )  # fmt: skip
        state = jax.lax.while_loop(lambda s: s.outcome == _RUNNING, step, state)
        gradient = state.residual @ state.jacobian
        fixed = held(state.y, gradient)
        angle = cosine(gradient, jnp.sum(state.jacobian**2, axis=0), state.cost, fixed)
        return Solution(
            state.y, state.residual, state.jacobian, state.cost, angle, state.num_steps, state.outcome,
            (state.y <= lower) | (state.y >= upper),
        )  # fmt: skip
