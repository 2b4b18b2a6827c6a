"""Profile likelihood: the cost as a function of one parameter, minimised over all others."""

from collections.abc import Sequence
from typing import Generic

import equinox as eqx
import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from jaxcal._arguments import host_only
from jaxcal.calibration.arguments import Bounds, intervals
from jaxcal.calibration.results.fit import Fit
from jaxcal.models.base import Model
from jaxcal.models.parameters import labels
from jaxcal.uncertainty.derivatives import merge_bounds
from jaxcal.uncertainty.profile_refits import Point, ProfileRefits
from jaxcal.uncertainty.student_t import t_quantile

_BEYOND = 1.3  # the first grid reaches so far past the quantile, in standard errors
_WIDER = 3  # times the grid is continued where the cost has not risen enough


class Profile(eqx.Module, Generic[Model]):
    """The profile likelihood of one parameter: the least cost at each of many values, over all others.

    Attributes:
        label: of the parameter.
        values: `[n]` its values, in its units, ascending.
        cost: `[n]` the cost there, without the penalty.
        model: the fitted models, with a leading axis `[n]`.
        converged: `[n]` whether each fit did; the others are left out of `interval`.
        fitted: the value of the fit that is profiled.
        noise: residual variance; 2 (cost - least cost) / noise is t^2.
        dof: degrees of freedom of t.
        ends: the bounds of the parameter.

    Example:
        >>> import jaxcal as jc
        >>> vols = [[0.21, 0.2, 0.2]]
        >>> fit = jc.calibrate(jc.BlackScholes, jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], vols, forward=100.0))
        >>> found = jc.profile(fit, "sigma")
        >>> print(found.label, np.round(found.interval(0.9), 4))
        sigma [0.1936 0.2131]
    """

    label: str = eqx.field(static=True)
    values: Float[Array | np.ndarray, " n"]
    cost: Float[Array | np.ndarray, " n"]
    model: Model
    converged: Bool[Array | np.ndarray, " n"]
    fitted: float
    noise: float
    dof: int
    ends: tuple[float, float]

    @property
    def t(self) -> NDArray[np.floating]:
        """`[n]` signed roots of twice the rise of the cost over the noise: a straight line for a quadratic cost; NaN
        where the fit did not converge.
        """
        cost = np.where(self.converged, self.cost, np.nan)
        if not np.isfinite(cost).any():
            return cost
        least = int(np.nanargmin(cost))
        with np.errstate(invalid="ignore", divide="ignore"):
            size = np.sqrt(2.0 * np.maximum(cost - cost[least], 0.0) / self.noise)
        return np.where(np.arange(len(cost)) < least, -size, size)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Where the cost has risen so far that |t| is the quantile of Student's t: the ends of a confidence interval.

        An end is the parameter's bound where the cost has not risen enough there, and NaN where the values of the
        profile end before.
        """
        limit = t_quantile(level, self.dof)
        good = np.isfinite(self.t)
        if not good.any() or not np.isfinite(limit) or not self.noise > 0:
            return float("nan"), float("nan")
        t, values = self.t[good], np.asarray(self.values)[good]
        return self._end(-t[::-1], values[::-1], limit, self.ends[0]), self._end(t, values, limit, self.ends[1])

    @property
    def lower_found(self) -> bool:
        """Whether some value of the parameter has a cost below the fit's by more than a hundredth of the noise: the fit
        then ended in a local optimum.
        """
        cost = np.asarray(self.cost)[np.asarray(self.converged)]
        at = np.argmin(np.abs(np.asarray(self.values)[np.asarray(self.converged)] - self.fitted)) if cost.size else 0
        return bool(cost.size and cost.min() < cost[at] - 0.005 * self.noise)

    def _end(self, t: NDArray, values: NDArray, limit: float, bound: float) -> float:
        """The first crossing as t rises outward."""
        above = np.flatnonzero(t >= limit)
        if not above.size:
            return bound if abs(values[-1] - bound) <= 1e-6 * max(1.0, abs(bound)) else float("nan")
        j = int(above[0])
        if j == 0:
            return float(values[0])
        share = (limit - t[j - 1]) / (t[j] - t[j - 1])
        if values[j] > 0 and values[j - 1] > 0:
            return float(values[j - 1] * (values[j] / values[j - 1]) ** share)
        return float(values[j - 1] + share * (values[j] - values[j - 1]))

    def to_frame(self) -> pd.DataFrame:
        """One row a value: `value`, `cost`, `t`, `converged`, and the other parameters that are numbers."""
        columns = {"value": self.values, "cost": self.cost, "t": self.t, "converged": self.converged}
        others = {name: np.asarray(getattr(self.model, name)) for name in self.model.bounds if name != self.label}
        return pd.DataFrame(columns | {name: values for name, values in others.items() if values.ndim == 1})


@host_only
def profile(
    fit: Fit[Model], name: str, *, num: int = 13, level: float = 0.95, bounds: Bounds | None = None
) -> Profile[Model]:
    """The profile likelihood of one parameter: refits of all others at many of its values.

    Args:
        fit: the result of `calibrate`.
        name: of a fitted parameter; with a place, such as "theta[1]", where it is a vector.
        num: number of values in the first grid, at least 5.
        level: the values extend past the ends of the interval at this level, as far as bounds allow.
        bounds: instead of those of the fit.

    Returns:
        A `Profile`. All fits run at once, from starts along the line predicted by the covariance.

    Raises:
        ValueError: `name` was not fitted; fewer than 5 values; a model that is fitted expiry by expiry; a fit without
            numbers.

    Example:
        >>> import jaxcal as jc
        >>> truth = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> surface = jc.synthetic_surface(truth, expiry=[0.1, 0.5, 1.0, 2.0], moneyness=[-2.0, -1.0, 0.0, 1.0])
        >>> noise = 1e-3 * np.random.default_rng(1).standard_normal(surface.vol.shape)
        >>> fit = jc.calibrate(jc.Heston, eqx.tree_at(lambda s: s.vol, surface, surface.vol + noise))
        >>> low, high = jc.profile(fit, "kappa").interval()
        >>> low < float(fit.model.kappa) < high
        True
    """
    return profiles(fit, (name,), num=num, level=level, bounds=bounds)[name]


@host_only
def profiles(
    fit: Fit[Model], names: Sequence[str], *, num: int = 13, level: float = 0.95, bounds: Bounds | None = None
) -> dict[str, Profile[Model]]:
    """`profile` of several parameters at once, by name: all refits are one batch.

    Args, and what is raised: as in `profile`, for each name.

    Example:
        >>> import jaxcal as jc
        >>> vols = [[0.21, 0.2, 0.2]]
        >>> fit = jc.calibrate(jc.BlackScholes, jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], vols, forward=100.0))
        >>> list(jc.profiles(fit, ["sigma"]))
        ['sigma']
    """
    known = labels(fit.model, fit.free)
    if fit.by_expiry:
        raise ValueError(f"{type(fit.model).__name__} was fitted expiry by expiry: a profile is of one fit")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0]!r} was not fitted: a profile is of one of {', '.join(known)}")
    if num < 5:
        raise ValueError(f"num is {num}: a profile takes at least 5 values")
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(fit.model)):
        raise ValueError(f"there is nothing to profile: {fit.status}")
    ridge = ProfileRefits.of(fit, intervals(type(fit.model), merge_bounds(fit, bounds)))
    limit = t_quantile(level, ridge.dof)
    limit = limit if np.isfinite(limit) else 3.0
    reach = _BEYOND * limit
    found: dict[int, list[Point]] = {known.index(name): [] for name in names}

    def add(places: list[tuple[int, float]]) -> dict[int, Profile[Model]]:
        for (i, _), point in zip(places, ridge.fits(places), strict=True):
            found[i].append(point)
        for i, points in found.items():
            points.sort(key=lambda point: point.x)
            found[i] = [p for j, p in enumerate(points) if not j or p.x - points[j - 1].x > 1e-9]
        return {i: _made(ridge, i, known[i], points) for i, points in found.items()}

    made = add([(i, float(x)) for i in found for x in np.linspace(-reach, reach, num + 1 - num % 2)])
    for _ in range(_WIDER):
        places = [(i, x) for i, one in made.items() for x in _wider(ridge, i, found[i], one.t, limit)]
        if not places:
            break
        made = add(places)
    # between two values t is not quite straight: so the ends of the interval are values too
    made = add([(i, x) for i, one in made.items() for x in _ends(found[i], one.t, limit)])
    return {known[i]: one for i, one in made.items()}


def _made(ridge: ProfileRefits, i: int, label: str, points: list[Point]) -> Profile:
    name, _, place = label.removesuffix("]").partition("[")
    models = jax.tree.map(lambda *leaves: np.stack(leaves), *(point.model for point in points))
    values = np.asarray(getattr(models, name), np.float64)

    def natural(y: float) -> float:
        moved = ridge.model_at(np.where(np.arange(ridge.y.size) == i, y, ridge.y))
        return float(np.ravel(np.asarray(getattr(moved, name)))[int(place or 0)])

    return Profile(
        label=label,
        values=values[:, int(place)] if place else values,
        cost=np.asarray([point.cost for point in points]),
        model=models,
        converged=np.asarray([point.good for point in points]),
        fitted=natural(float(ridge.y[i])),
        noise=ridge.noise,
        dof=ridge.dof,
        ends=(natural(float(ridge.lower[i])), natural(float(ridge.upper[i]))),
    )


def _wider(ridge: ProfileRefits, i: int, points: list[Point], t: NDArray, limit: float) -> list[float]:
    """More places on sides whose cost has not yet risen to the limit."""
    good = np.isfinite(t)
    if not good.any():
        return []
    more: list[float] = []
    for side in (-1, 1):
        furthest, room = side * points[-1 if side > 0 else 0].x, ridge.room(i, side)
        if np.max(side * t[good]) < limit and furthest < room * (1.0 - 1e-6):
            more += [side * min(furthest + share * max(furthest, 1.0), room) for share in (0.35, 0.7, 1.0)]
    return more


def _ends(points: list[Point], t: NDArray, limit: float) -> list[float]:
    """Where the cost has risen to the limit, by a straight line between two values."""
    good = np.isfinite(t)
    x, t = np.asarray([point.x for point in points])[good], t[good]
    return [float(np.interp(side * limit, t, x)) for side in (-1, 1) if t.size and np.max(side * t) > limit]
