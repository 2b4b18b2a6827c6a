# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
"""global_search: fits of one model to one surface from hundreds of starts, and the distinct optima they find."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray

from jaxcal._arguments import host_only
from jaxcal._status import Outcome
from jaxcal.calibration.arguments import Bounds, check_start, weighted
from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.calibration_spec import CalibrationSpec, spec_of
from jaxcal.calibration.engine.grid_fit import Method
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.loss import AbstractLoss, is_automatic
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.calibration.prior_strength import is_searched
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.search.optima import Optima, same
from jaxcal.calibration.search.rough_fits import Ends, ManyStarts
from jaxcal.calibration.search.start_ranges import Range, find_ranges, points_in
from jaxcal.calibration.starts.starting_values import make_starts, simpler_model
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import from_vector, search_bounds, to_vector
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.sinh import Sinh
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt
from jaxcal.solvers.sobol import sobol_points

Model = TypeVar("Model", bound=AbstractModel)
SearchMethod = Literal["sobol", "differential_evolution"]

_GRID = Sinh(48)  # the same for all starts; with fewer nodes some found fits that a finer grid does not confirm
# rough fits only need to say which optimum is theirs; the second time for the lowest of those still on their way
_ROUGH = LevenbergMarquardt(xtol=1e-3, ftol=1e-6, gtol=1e-4, atol=1e-7, max_steps=60)
_LONGER = LevenbergMarquardt(xtol=1e-3, ftol=1e-6, gtol=1e-4, atol=1e-7, max_steps=200)
_LOOK = LevenbergMarquardt(max_steps=0)  # evaluates where it starts
_LOWEST = 0.25  # of the starts: as many go on at most, and of a population so many are fitted
_PULLS = 4  # how often a start without a finite price is drawn half way towards the first start
# of the residuals: rough fits that differ by less are at one optimum; fits to the end are the same one
_ROUGHLY, _SAME = 0.02, 0.01


@host_only
def global_search(
    model: type[Model] | Model | CalibrationSpec[Model],
    surface: Surface,
    *,
    method: SearchMethod | str = "sobol",
    num_starts: int = 256,
    generations: int = 50,
    seed: int = 0,
    ranges: Mapping[str, Range] | None = None,
    num_polished: int = 12,
    residual: AbstractResidual | None = None,
    loss: AbstractLoss | str | None = None,
    weights: ArrayLike | AbstractWeights | str | None = None,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    prior: AbstractPrior | Sequence[AbstractPrior] | None = None,
) -> Optima[Model]:
    """Look for the best fit there is, from many starts at once, and report every distinct optimum that they find.

    All starts are one batch of rough fits, of 60 steps at most, on one fine grid that they share; the lowest of those
    still on their way go on. Then the lowest is fitted by `calibrate`, to the end and with its checks, then the lowest
    of those that are unlike it, and so on; those that arrive at one optimum are put together.

    Args:
        model: a class, whose starts read off the surface are tried beside the others; or an instance, which is tried
            likewise and whose parameters that are not free stay; or a `CalibrationSpec` of either.
        surface: market quotes, `[E, K]`.
        method: "sobol": fits from points of a scrambled Sobol sequence. "differential_evolution": these points are a
            population, which first evolves for some generations; fits start from its lowest quarter.
        num_starts: points of the sequence; a power of two is most even.
        generations: of the population.
        seed: of the scrambling and of the population: the same seed gives the same result.
        ranges: by name, `(lower, upper)` between which starts are drawn, counted as the bounds of the parameter are.
            By default those that markets have shown, in units of the surface's median volatility, or for a model
            without such a rule the bounds. Fits may leave the ranges, within the bounds.
        num_polished: fits to the end, at most; each finds an optimum or one that is known. Rough fits that ended
            elsewhere are counted.
        residual, loss, weights, pricer, free, bounds, prior: as in `calibrate`. A scale of the loss or a strength of
            the prior that is to be found is found by a fit from the data, and then held.

    Returns:
        `Optima`, the best first: `optima.best` is a `Fit`. A surface that cannot be fitted is a status of that.

    Raises:
        ValueError: an unknown method; `num_starts` or `num_polished` not positive; `generations` negative; a range that
            is empty, outside the bounds or of a parameter that is not searched; a model that is fitted expiry by
            expiry; and what `calibrate` raises.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.2, 0.2]], forward=100.0)
        >>> optima = jc.global_search(jc.BlackScholes, surface, num_starts=16)
        >>> len(optima), optima.best.converged, round(float(optima.best.model.sigma), 6)
        (1, True, 0.2)
    """
    asked: CalibrationSpec[Model] = spec_of(
        model, residual=residual, loss=loss, weights=weights, pricer=pricer, free=free, bounds=bounds, prior=prior
    )
    template, names, limits, scales = asked.template, asked.names, asked.limits, asked.scales
    _check(template, method, num_starts, generations, num_polished)
    if asked.weights is not None:
        surface = weighted(surface, asked.weights, remembered=weights is None)
    spec = asked.own(weights=None)
    if is_automatic(spec.loss) or (spec.prior is not None and is_searched(spec.prior)):
        first = calibrate(spec, surface)
        spec = spec.own(loss=first.loss, prior=first.prior)
    own_starts = _starts(spec.model, surface, spec.residual)
    one = own_starts[0]
    dtype = np.dtype(surface.vol.dtype)
    box = search_bounds(one, limits, names, dtype)
    used = np.asarray(surface.weight) > 0
    level = float(np.median(np.asarray(surface.vol)[used])) if used.any() else 1.0
    drawn_in = find_ranges(template, names, limits, spec.bounds, ranges, level)
    points = points_in(sobol_points(num_starts, box[0].size, seed), one, names, drawn_in)
    own = np.stack([np.asarray(to_vector(start, names, scales)) for start in own_starts])
    y0 = np.clip(np.concatenate([own, points]), *box).astype(dtype)

    target = Target.of(surface, spread=spec.residual.needs_spread)
    grid = (spec.pricer or _GRID).sized()
    on_grid = Method(spec.residual, spec.prior, _ROUGH, box, grid, None, spec.loss, scales)
    search = ManyStarts(names, on_grid, target, one, len(y0))
    if method == "differential_evolution":
        last = search.evolve(y0, generations, seed)
        y0 = last.y[np.argsort(last.cost, kind="stable")[: max(num_polished, round(_LOWEST * len(y0)))]]
        search = search._replace(capacity=len(y0))
    y0, ends = _rough(search, y0, own[0].astype(dtype))

    def fit_from(y: Float[np.ndarray, " p"]) -> Fit[Any]:
        start = from_vector(one, names, jnp.asarray(y), scales)
        found = calibrate(spec.own(model=start), surface)
        return replace(found, spec=asked.own(model=start))

    def residual_at(fit: Fit[Any]) -> Float[np.ndarray, " m"]:
        y = np.asarray(to_vector(fit.model, names, scales), dtype)
        return np.asarray(search.fit(y[None], _LOOK).residual[0])

    fits, optimum = _polished(ends, fit_from, residual_at, num_polished)
    of_all = jax.vmap(lambda y: from_vector(one, names, y, scales))
    starts, ended = (jax.tree.map(np.asarray, of_all(jnp.asarray(y, dtype))) for y in (y0, ends.y))
    return Optima(fits, optimum, ends.cost, ends.outcome, ends.num_steps, starts, ended, method=method)


def _check(template: type[Any], method: str, num_starts: int, generations: int, num_polished: int) -> None:
    if method not in get_args(SearchMethod):
        raise ValueError(f"method {method!r} is none of {', '.join(get_args(SearchMethod))}")
    for name, number in (("num_starts", num_starts), ("num_polished", num_polished)):
        if number <= 0:
            raise ValueError(f"{name} is {number}: it must be positive")
    if generations < 0:
        raise ValueError(f"generations is {generations}: it must not be negative")
    if template.per_expiry:
        raise ValueError(f"{template.__name__} is fitted expiry by expiry: a global search is of one fit")


def _starts(model: type[Any] | Any, surface: Surface, residual: AbstractResidual) -> list[Any]:
    """The starts that a caller has or the surface suggests; the first has the fixed parameters, and the grid."""
    if not isinstance(model, type):
        return [check_start(model, surface)]
    simpler = simpler_model(model) if model.vectors else None
    before = None if simpler is None else calibrate(simpler, surface, residual=residual).model
    found = make_starts(model, surface, before)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(found[0])]
    return [one for one in found if [np.shape(leaf) for leaf in jax.tree.leaves(one)] == shapes]


def _rough(search: ManyStarts, y0: NDArray[np.floating], towards: NDArray[np.floating]) -> tuple[NDArray, Ends]:
    """Starts, and rough fits from them. A start where the model has no finite price on the grid is drawn half way
    `towards` one that has; of the fits that need more steps the lowest go on.
    """
    y0, ends = y0.copy(), search.fit(y0)
    for _ in range(_PULLS):
        rows = np.flatnonzero(ends.outcome == Outcome.NOT_FINITE)
        if not rows.size or ends.outcome[0] == Outcome.NOT_FINITE:
            break
        y0[rows] = 0.5 * (y0[rows] + towards)
        ends = ends.replaced(rows, search.fit(y0[rows]))
    rows = np.flatnonzero(ends.outcome == Outcome.STEP_LIMIT)
    rows = rows[np.argsort(ends.cost[rows], kind="stable")][: max(1, round(_LOWEST * len(y0)))]
    return y0, ends.replaced(rows, search.fit(ends.y[rows], _LONGER)) if rows.size else ends


def _polished(
    ends: Ends,
    fit_from: Callable[[Float[np.ndarray, " p"]], Fit[Any]],
    residual_at: Callable[[Fit[Any]], Float[np.ndarray, " m"]],
    most: int,
) -> tuple[tuple[Fit[Any], ...], Int[np.ndarray, " n"]]:
    """The distinct optima, the lowest first, and for each rough fit the place of its own among them, or -1.

    The lowest rough fit without an optimum is fitted to the end, at most `most` times. Where it arrives is the optimum
    of all rough fits that are like it was, or like it is then.
    """
    optimum, fits, residuals = np.full(len(ends.cost), -1), [], []
    cost = np.where(np.isfinite(ends.cost), ends.cost, np.inf)
    # where nothing is finite one fit says so
    waiting = [int(i) for i in np.argsort(cost, kind="stable") if np.isfinite(cost[i])] or [0]
    for _ in range(most):
        i = next((i for i in waiting if optimum[i] < 0), None)
        if i is None:
            break
        fit = fit_from(ends.y[i])
        there = residual_at(fit)
        place = next((j for j, known in enumerate(fits) if not (fit.status.fitted or known.status.fitted)), len(fits))
        place = next((j for j, known in enumerate(residuals) if same(there[None], known, _SAME)[0]), place)
        if place == len(fits):
            fits.append(fit)
            residuals.append(there)
        alike = same(ends.residual, ends.residual[i], _ROUGHLY) | same(ends.residual, there, _ROUGHLY)
        optimum[(optimum < 0) & alike] = place
        optimum[i] = place
    rank = np.argsort([float(fit.cost) for fit in fits], kind="stable")  # what is not a number comes last
    return tuple(fits[k] for k in rank), np.where(optimum < 0, -1, np.argsort(rank)[np.maximum(optimum, 0)])
