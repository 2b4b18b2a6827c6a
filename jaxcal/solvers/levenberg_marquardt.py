"""Levenberg-Marquardt for small dense problems, in a box, as one compiled loop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcal._status import Outcome
from jaxcal.solvers.cholesky import solve_spd
from jaxcal.solvers.least_squares import (
    RUNNING,
    AbstractLeastSquaresSolver,
    Residuals,
    Solution,
    Vector,
    held,
    in_box,
    largest_cosine,
    linearised,
)


class _State(NamedTuple):
    y: Vector
    residual: Float[Array, " m"]
    jacobian: Float[Array, "m p"]
    cost: Float[Array, ""]
    angle: Float[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    scale: Vector
    bend: Float[Array, "p p"]
    bent: Bool[Array, ""]
    num_steps: Int[Array, ""]
    outcome: Int[Array, ""]


class LevenbergMarquardt(AbstractLeastSquaresSolver):
    """Damped Gauss-Newton steps, accepted on the ratio of actual to predicted reduction, projected onto the box.

    The damping follows H. B. Nielsen, "Damping parameter in Marquardt's method" (IMM-REP-1999-05): divided by up to ten
    after a good step, multiplied by 2, 4, 8, ... after bad ones; columns are scaled by their largest norm so far
    (J. More, "The Levenberg-Marquardt algorithm", 1978). A parameter at its bound whose descent direction points
    outside is held there for the step.

    Converged means one of: the step *and* the predicted reduction of the cost are below tolerance; the residual is
    orthogonal to every free column of the Jacobian; the residual itself is zero to `atol`; no step, however short,
    lowers the cost although the cosine of that angle is at most 1e-4 (a kink, or rounding).

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

    xtol: Float[Array, ""] | float = 1e-6
    ftol: Float[Array, ""] | float = 1e-10
    gtol: Float[Array, ""] | float = 1e-7
    atol: Float[Array, ""] | float = 1e-10
    max_steps: Int[Array, ""] | int = 200
    damping: Float[Array, ""] | float = 1e-3

    def init(self, fn: Residuals, y0: Vector, args: Any, lower: Vector, upper: Vector) -> "_State":
        # one evaluation in the program, not one before the loop and one in it: half the time to compile
        num_residuals = jax.eval_shape(lambda y: fn(y, args), y0).shape[0]
        start = jnp.clip(y0, lower, upper)
        size, dtype = y0.shape[0], y0.dtype
        inf = jnp.asarray(jnp.inf, dtype)
        return _State(
            start, jnp.zeros((num_residuals,), dtype), jnp.zeros((num_residuals, size), dtype), inf, inf,
            jnp.asarray(self.damping, dtype), jnp.asarray(2.0, dtype), jnp.zeros_like(start),
            jnp.zeros((size, size), dtype), jnp.asarray(False), jnp.asarray(-1, jnp.int32),
            jnp.asarray(RUNNING, jnp.int32),
        )  # fmt: skip

    def outcome(self, state: "_State") -> Int[Array, ""]:
        return state.outcome

    def finish(self, state: "_State", lower: Vector, upper: Vector) -> Solution:
        return Solution(
            state.y, state.residual, state.jacobian, state.cost, state.angle, state.num_steps, state.outcome,
            (state.y <= lower) | (state.y >= upper),
        )  # fmt: skip

    def step(
        self, fn: Residuals, state: "_State", args: Any, lower: Vector, upper: Vector, max_step: float
    ) -> "_State":
        dtype = state.y.dtype
        eps = float(jnp.finfo(dtype).eps)
        # no tolerance below what the dtype can show
        xtol, gtol = jnp.maximum(self.xtol, 64.0 * eps), jnp.maximum(self.gtol, 64.0 * eps)
        ftol, atol = jnp.maximum(self.ftol, 4.0 * eps), jnp.maximum(self.atol, 4.0 * eps)
        num_residuals = state.residual.shape[0]
        noise = num_residuals * (1000.0 * atol) ** 2
        hidden = (1e3 if eps < 1e-12 else 1e4) * eps  # a relative change of the cost that rounding hides

        # before the first evaluation cost is infinite and the Jacobian zero: the trial is then the start itself
        first = jnp.isinf(state.cost)
        jacobian, y = state.jacobian, state.y
        gradient = state.residual @ jacobian
        normal = jacobian.T @ jacobian
        fixed = held(y, gradient, lower, upper)
        scale = jnp.maximum(state.scale, jnp.diagonal(normal))

        # second derivatives of the residuals, times the residuals: estimated, and used while they predict better
        curvature = normal + jnp.where(state.bent, state.bend, 0.0)

        def solved(curvature: Array, fixed: Array) -> Array:
            free = jnp.where(fixed, 0.0, 1.0).astype(y.dtype)
            # a column that is zero moves nothing: its parameter stays, at unit curvature
            diagonal = jnp.where(fixed | (scale <= 0), 1.0, state.damping * scale)
            damped = curvature * (free[:, None] * free[None, :]) + jnp.diag(diagonal)
            return -solve_spd(damped, free * gradient)

        # a step may point outside although the gradient does not: then that parameter is held too. At most two solves,
        # as a loop: written out, the second one is as long to compile as the first
        def solve(carry: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
            turn, curvature, fixed, _, _ = carry
            move = solved(curvature, fixed)
            definite = jnp.all(jnp.isfinite(move))
            outside = ((y <= lower) & (move < 0)) | ((y >= upper) & (move > 0))
            again = (turn == 0) & (jnp.any(outside) | ~definite)
            return turn + 1, jnp.where(definite, curvature, normal), fixed | outside, move, again

        begin = (jnp.asarray(0, jnp.int32), curvature, fixed, jnp.zeros_like(y), jnp.asarray(True))
        _, curvature, _, move, _ = jax.lax.while_loop(lambda carry: carry[-1], solve, begin)
        whole = jnp.max(jnp.abs(move))
        trial = in_box(y + move * jnp.minimum(1.0, max_step / jnp.maximum(whole, eps)), lower, upper)
        delta = trial - y
        residual, new_jacobian = linearised(fn, trial, args)
        cost = 0.5 * (residual @ residual)
        predicted = -(gradient @ delta) - 0.5 * (delta @ (curvature @ delta))
        finite = jnp.isfinite(cost) & jnp.all(jnp.isfinite(new_jacobian)) & jnp.all(jnp.isfinite(delta))
        gain = jnp.where(predicted > 0, (state.cost - cost) / jnp.where(predicted > 0, predicted, 1.0), -1.0)
        ratio = jnp.where(finite & ~first, gain, -1.0)
        accept = jnp.where(first, finite, ratio > 1e-4)

        shrink = jnp.maximum(0.1, 1.0 - (2.0 * ratio - 1.0) ** 3)
        damping = jnp.where(accept, jnp.maximum(state.damping * shrink, 1e-12), state.damping * state.growth)
        damping = jnp.where(first, state.damping, damping)
        growth = jnp.where(accept, 2.0, 2.0 * state.growth)

        new_gradient = residual @ new_jacobian
        # a residual that is zero to rounding points nowhere
        size = jnp.maximum(2.0 * cost, noise)
        new_held = held(trial, new_gradient, lower, upper)
        new_angle = largest_cosine(new_gradient, jnp.sum(new_jacobian**2, axis=0), size, new_held)
        plain = -(gradient @ delta) - 0.5 * (delta @ (normal @ delta))
        better = jnp.abs(state.cost - cost - plain + 0.5 * (delta @ (state.bend @ delta)))
        learn = finite & ~first
        # a step refused says nothing about which prediction is better: the next one is plain
        bent = learn & accept & (better < jnp.abs(state.cost - cost - plain))
        bend = _bend(state.bend, delta, new_gradient - residual @ jacobian, new_gradient - gradient)
        bend = jnp.where(learn & accept & jnp.all(jnp.isfinite(bend)), bend, state.bend)

        small_step = whole <= xtol
        small_gain = (jnp.abs(predicted) <= ftol * state.cost) & (state.damping <= 1.0)
        perfect = 2.0 * cost <= num_residuals * atol**2
        converged = accept & ((small_step & small_gain & ~first) | (new_angle <= gtol) | perfect)
        # at the rounding floor no step is accepted although nothing is left to gain
        lost = (jnp.abs(predicted) <= hidden * state.cost) & (state.angle <= max(1e-3, 30.0 * eps**0.5))
        lost &= state.damping <= 1.0  # a step cut short by damping promises little anywhere
        nothing_left = (small_gain & (state.angle <= 1e-5)) | lost
        rounding = 2.0 * state.cost <= noise
        floor = ~accept & ~first & ((state.angle <= gtol) | nothing_left | rounding)
        stuck = ~accept & ((damping > 1e12) | (jnp.max(jnp.abs(delta)) <= eps))
        # where a residual has a kink, or rounding in small residuals hides the cost's last digits, no step gains
        # although the gradient is not zero: at this cosine the optimum is within 1e-4 sqrt(m) standard errors
        floor |= stuck & ~first & (state.angle <= 1e-4)
        num_steps = state.num_steps + 1
        outcome = jnp.where(
            converged | floor,
            Outcome.CONVERGED,
            jnp.where(stuck, Outcome.STALLED, jnp.where(num_steps >= self.max_steps, Outcome.STEP_LIMIT, RUNNING)),
        )
        outcome = jnp.where(first & ~finite, Outcome.NOT_FINITE, outcome)

        def pick(new: Array, old: Array) -> Array:
            return jnp.where(accept, new, old)

        return _State(
            pick(trial, y), pick(residual, state.residual), pick(new_jacobian, jacobian), pick(cost, state.cost),
            pick(new_angle, state.angle), damping, growth, scale, bend, bent, num_steps,
            outcome.astype(jnp.int32),
        )  # fmt: skip


def _bend(bend: Array, delta: Array, seen: Array, turn: Array) -> Array:
    """The estimate of `bend` after a step `delta`, along which it should be `seen`; `turn` is how the gradient moved.

    J. Dennis, D. Gay, R. Welsch, "An adaptive nonlinear least-squares algorithm" (NL2SOL), ACM TOMS 7 (1981), eq. 3.8
    and the sizing of section 4.
    """
    before = delta @ (bend @ delta)
    sized = jnp.where(before == 0, 0.0, jnp.minimum(1.0, jnp.abs(delta @ seen) / jnp.abs(before)))
    bend = sized * bend
    missing, along = seen - bend @ delta, turn @ delta
    outer = missing[:, None] * turn[None, :]
    return bend + (outer + outer.T) / along - (missing @ delta) * turn[:, None] * turn[None, :] / along**2
