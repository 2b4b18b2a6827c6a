"""ProfileRefits: refits of one surface with a parameter pulled away from its fitted value, all at once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.arguments_of_many import for_each
from jaxcal.calibration.engine.dispatch import fit_batch
from jaxcal.calibration.engine.grid_fit import LossAndPrior, Method
from jaxcal.calibration.engine.grid_refinement import Refined, fit_grids, put_rows, refine, take_rows
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.loss import curvature
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.standard_errors import search_covariance, weighted_misfit
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales, from_vector, search_bounds, to_vector
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

_STIFF = 10.0  # the draw to a value, against the curvature of the cost along the ridge
_FURTHEST = 12.0  # on a search scale, from the fit


class ProfilePenalty(AbstractPrior):
    """A penalty `stiffness (direction . y - centre)` on the search vector y, beside the fit's own prior.

    At its optimum no other parameters with the same `direction . y` have a lower cost without the penalty. So that cost
    is exactly on the profile, and one compiled fit serves the profiles of all parameters.

    Args:
        free: names of the parameters in y.
        scales: of the fit.
        inner: the fit's own prior, or None.
        direction: `[p]`, 1 at one place and 0 elsewhere.
        centre: on the search scale.
        stiffness: of the penalty.

    Example:
        >>> import jaxcal as jc
        >>> drawn = ProfilePenalty(("sigma",), Scales(), None, np.ones(1), np.log(0.2), 3.0)
        >>> print(drawn(jc.BlackScholes(0.22)).round(3))
        [0.286]
    """

    free: tuple[str, ...] = eqx.field(static=True)
    scales: Scales = eqx.field(static=True)
    inner: AbstractPrior | None
    direction: Float[Array | np.ndarray, "*b p"]
    centre: Float[Array | np.ndarray, "*b"] | float
    stiffness: Float[Array | np.ndarray, "*b"] | float

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        y = to_vector(model, self.free, self.scales)
        place = jnp.sum(jnp.asarray(self.direction, y.dtype) * y)
        drawn = jnp.asarray(self.stiffness, y.dtype) * (place - jnp.asarray(self.centre, y.dtype))
        if self.inner is None:
            return drawn[None]
        return jnp.concatenate([self.inner(model).astype(y.dtype), drawn[None]])


class Point(NamedTuple):
    """A refit: the place of the parameter on its search scale, in standard errors from the fit; the cost; the model."""

    x: float
    cost: float
    good: bool
    model: AbstractModel


class ProfileRefits(NamedTuple):
    """A fit on its search scales, and the first-order response of the other parameters to each one."""

    fit: Fit
    y: NDArray[np.floating]
    lower: NDArray[np.floating]
    upper: NDArray[np.floating]
    errors: NDArray[np.floating]  # [p] standard errors, or steps where there is none
    follow: NDArray[np.floating]  # [p, p] row i: how all move with parameter i
    noise: float  # of the cost: twice a rise over it is a chi-square
    dof: int

    @classmethod
    def of(cls, fit: Fit, limits: Mapping[str, Interval]) -> "ProfileRefits":
        """Of a fit of one model to a whole surface, within `limits`."""
        dtype = np.dtype(fit.surface.vol.dtype)
        y = np.asarray(to_vector(fit.model, fit.free, fit.objective.scales), np.float64)
        lower, upper = search_bounds(fit.model, limits, fit.free, dtype)
        weight, residuals = np.asarray(fit.surface.weight, float)[None], np.asarray(fit.residuals, float)[None]
        loss = jax.tree.map(lambda leaf: np.asarray(leaf)[None], fit.loss)
        information, at_bound = np.asarray(fit.information, float)[None], np.asarray(fit.at_bound)[None]
        misfit, counts = weighted_misfit(loss, weight, residuals, y.size), np.sum(weight > 0, axis=(1, 2))
        covariance = search_covariance(information, at_bound, misfit, counts)[0]
        dof = int(counts[0] - np.sum(~at_bound)) if counts[0] > y.size else 0
        variance = misfit[0] / max(dof, 1)
        alone = variance / np.maximum(np.diagonal(information[0]), 1e-300)
        known = np.isfinite(np.diagonal(covariance))
        errors = np.sqrt(np.where(known, np.diagonal(covariance), alone))
        follow = np.eye(y.size)
        for i in np.flatnonzero(known):
            follow[i] = np.where(np.isfinite(covariance[i]), covariance[i], 0.0) / covariance[i, i]
        used = weight[0] > 0
        bend = np.asarray(curvature(fit.loss, jnp.asarray(np.where(used, np.nan_to_num(residuals[0]), 0.0))))
        mean = 1.0 if fit.loss is None else float(np.sum(weight[0] * bend) / np.sum(weight[0]))
        return cls(fit, y, lower, upper, np.clip(errors, 1e-9, 0.5), follow, float(variance * mean), dof)

    def model_at(self, y: Any) -> Any:
        """The model of a search vector."""
        dtype = np.dtype(self.fit.surface.vol.dtype)
        return from_vector(self.fit.model, self.fit.free, jnp.asarray(y, dtype), self.fit.objective.scales)

    def room(self, i: int, side: int) -> float:
        """How far parameter `i` may go up (1) or down (-1), in standard errors."""
        bound = min(self.upper[i] - self.y[i], _FURTHEST) if side > 0 else min(self.y[i] - self.lower[i], _FURTHEST)
        return float(max(bound, 0.0) / self.errors[i])

    def fits(self, places: Sequence[tuple[int, float]]) -> list[Point]:
        """Refits with parameter `i` pulled to `x` standard errors from the fit."""
        if not places:
            return []
        fit, dtype, size = self.fit, np.dtype(self.fit.surface.vol.dtype), len(places)
        index, x = np.asarray([i for i, _ in places]), np.asarray([x for _, x in places])
        step = np.clip(x * self.errors[index], -_FURTHEST, _FURTHEST)
        aim = np.clip(self.y[index] + step, self.lower[index], self.upper[index])
        step = aim - self.y[index]
        start = np.clip(self.y + step[:, None] * self.follow[index], self.lower, self.upper)
        start[np.arange(size), index] = aim
        models = jax.tree.map(np.asarray, jax.vmap(self.model_at)(jnp.asarray(start, dtype)))
        stiffness = np.sqrt(_STIFF * max(self.noise, 1e-30)) / self.errors[index]
        centre = self.y[index] + step * (1.0 + 1.0 / _STIFF)
        direction = np.eye(self.y.size, dtype=dtype)[index]
        drawn = ProfilePenalty(
            fit.free, fit.objective.scales, for_each(fit.prior, size, dtype), direction, centre.astype(dtype),
            stiffness.astype(dtype),
        )  # fmt: skip
        own = LossAndPrior(for_each(fit.loss, size, dtype), drawn)
        residual = fit.objective.residual
        one = jax.tree.map(np.asarray, Target.of(fit.surface, spread=residual.needs_spread))
        target = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (size, *leaf.shape)), one)
        grids, box = fit_grids(type(fit.model), None), (self.lower, self.upper)

        def run(start: Any, level: NDArray[np.int64], rows: NDArray[np.bool_]) -> Any:
            left = np.flatnonzero(rows)
            pair, scales = grids[int(level[left[0]])], fit.objective.scales  # all are on one level
            method = Method(residual, None, LevenbergMarquardt(), box, *pair, scales=scales)
            quotes, mine, begin = take_rows((target, own, start), left)
            return fit_batch(fit.free, method, quotes, begin, own=mine)

        def again(before: Any, level: NDArray[np.int64], rows: NDArray[np.bool_]) -> Any:
            return put_rows(before, np.flatnonzero(rows), run(before.model, level, rows))

        everything, coarsest = np.ones(size, bool), np.zeros(size, int)
        first = Refined(run(models, coarsest, everything), coarsest)
        found = refine(again, first, everything, len(grids) - 1).found
        ended = jax.vmap(lambda model: to_vector(model, fit.free, fit.objective.scales))(found.model)
        ended = np.asarray(ended, np.float64)[np.arange(size), index]
        cost = found.cost - 0.5 * (stiffness * (ended - centre)) ** 2
        good = (found.outcome == Outcome.CONVERGED) & ~found.moved
        places_found = (ended - self.y[index]) / self.errors[index]
        rows = zip(places_found.tolist(), cost.tolist(), good.tolist(), strict=True)
        return [Point(x, c, g, take_rows(found.model, i)) for i, (x, c, g) in enumerate(rows)]
