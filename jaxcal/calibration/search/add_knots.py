"""add_knots: knots of a clock by need, at the expiries whose level a fit misses."""

from dataclasses import fields, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxcal._arguments import host_only
from jaxcal._status import Outcome
from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.engine.grid_refinement import PERFECT
from jaxcal.calibration.objective.loss import influence, widened
from jaxcal.calibration.results.fit import Fit
from jaxcal.models.analytic.buckets import clock_at
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import with_fields

Model = TypeVar("Model", bound=AbstractModel)

_MISSED = 3.0  # standard errors of the mean influence of an expiry's quotes
_ROUNDS = 3  # of knots that are added
_WIDER = 5.0  # times the scale of a loss, in which a fit with new knots goes first
_LONGER = 5  # fits, each from the last, before one that still moves ends at the step limit


@host_only
def add_knots(fit: Fit[Model], *, most: int | None = None) -> Fit[Model]:
    """`fit` with more knots in its clock, where it misses the level of expiries between two of them.

    An expiry is missed if the mean influence of its quotes is more than three standard errors from zero. Of every
    interval in which one is, all quoted expiries become knots; the clock is carried over, so the new fit starts where
    the old one ended, first down a loss of five times the scale where it has one. This repeats until no level is missed
    or the cost falls no more. Models with a clock are `ClockedDoubleHeston`, `ClockedHestonJumps`, and your own with
    fields `pace` and `knots` in which a pace of the interval before means no change.

    Args:
        fit: of a model with a clock, by `calibrate`.
        most: knots at most; those of the intervals that miss by most come first. Without it, as many as there are
            quoted expiries but the last, for a knot there changes no price.

    Returns:
        The fit with the lower cost: one with more knots, from an instance as its `spec` says; or `fit` itself.

    Raises:
        ValueError: the model has no clock; nothing was fitted; `most` is below the number of knots that there are; the
            prior is about so many paces as the clock has (`toward` a fit with fewer knots).
        TypeError: no fit of one surface; `most` is no whole number.

    Example:
        >>> import jaxcal as jc
        >>> heston = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
        >>> truth = jc.ClockedDoubleHeston.of(heston, knots=[0.1], pace=[2.0])
        >>> surface = jc.synthetic_surface(truth, expiry=[0.1, 0.5], moneyness=[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0])
        >>> fit = jc.calibrate(jc.ClockedDoubleHeston.of(heston, knots=[]), surface, free=["v0_1"])
        >>> jc.add_knots(fit) is fit  # the pace is not free
        True
    """
    if not isinstance(fit, Fit):
        raise TypeError(f"add_knots takes the fit of one surface by calibrate, not {type(fit).__name__}")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int | np.integer)):
        raise TypeError(f"most is a number of knots, not {most!r}")
    names = {field.name for field in fields(fit.model)}
    if not {"pace", "knots"} <= names:
        raise ValueError(f"{type(fit.model).__name__} has no clock: fit a ClockedDoubleHeston or a ClockedHestonJumps")
    if not fit.status.fitted:
        raise ValueError(f"there is no fit to add knots to: {fit.status}")
    there = int(np.size(getattr(fit.model, "knots")))  # noqa: B009
    if most is not None and most < there:
        raise ValueError(f"most is {most}, and the clock has {there} knot{'s' * (there != 1)}: ask for {there} or more")
    if "pace" not in fit.spec.names:
        return fit
    for _ in range(_ROUNDS):
        if float(fit.rmse_vol) <= PERFECT:  # what is left is rounding, and no level
            break
        wanted = _wanted(fit, most)
        if not wanted.size:
            break
        found = _with_knots(fit, wanted)
        if not (found.status.fitted and float(found.cost) < float(fit.cost)):
            break
        fit = found
    return fit


def level_misses(fit: Fit[Any]) -> NDArray[np.floating]:
    """`[n]` by how many standard errors the mean influence of the quotes is off zero, at every quoted expiry; 0 where
    fewer than three quotes say so.
    """
    residuals = jnp.asarray(fit.residuals)
    known = jnp.isfinite(residuals)
    pull = np.asarray(jnp.where(known, influence(fit.loss, jnp.where(known, residuals, 0.0)), jnp.nan), float)
    some = np.any(np.isfinite(pull), axis=-1)
    pull = pull[some]
    count = np.sum(np.isfinite(pull), axis=-1)
    mean = np.nanmean(pull, axis=-1)
    error = np.sqrt(np.nanmean((pull - mean[:, None]) ** 2, axis=-1) / np.maximum(count - 1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count >= 3, np.nan_to_num(np.abs(mean) / error), 0.0)


def _wanted(fit: Fit[Any], most: int | None) -> NDArray[np.floating]:
    """Expiries that are to be knots, beside those that are."""
    expiries = fit.surface.expiries()
    knots = np.asarray(fit.model.knots)
    # on the host and on the device an expiry is the same number, but a knot may come from a file
    is_knot = np.any(np.isclose(expiries[:, None], knots[None, :], rtol=1e-9, atol=0.0), axis=-1)
    missed = level_misses(fit)
    interval = np.searchsorted(knots * (1.0 + 1e-9), expiries)
    worst = np.zeros(knots.size + 1)
    np.maximum.at(worst, interval, missed)
    open_ = ~is_knot & (worst[interval] > _MISSED)
    open_[-1] = False  # nothing is beyond it
    room = expiries.size if most is None else most - knots.size
    order = np.argsort(-worst[interval], kind="stable")
    chosen = [i for i in order if open_[i]][: max(room, 0)]
    return expiries[np.sort(np.asarray(chosen, int))]


def _with_knots(fit: Fit[Any], more: NDArray[np.floating]) -> Fit[Any]:
    """The fit from the same law on a clock that may turn at these times too."""
    model = fit.model
    knots = np.sort(np.concatenate([np.asarray(model.knots), more])).astype(np.asarray(model.knots).dtype)
    at = jnp.asarray(knots)
    _, pace = clock_at(jnp.asarray(model.knots), jnp.asarray(model.pace), at)
    begin = start = with_fields(model, {"knots": at, "pace": pace})
    if (prior := fit.prior) is not None:
        try:
            jax.eval_shape(prior, start)
        except (TypeError, ValueError):
            raise ValueError(
                f"the prior of the fit is about its own paces, {np.size(model.knots)} of them: fit without it, add "
                "knots, and hold the next fit toward that one"
            ) from None
    loss = fit.loss
    spec = fit.spec.own(loss=loss, prior=fit.prior, weights=None)
    if (wide := widened(loss, _WIDER)) is not loss:
        start = calibrate(spec.own(model=start, loss=wide), fit.surface).model
    found = calibrate(spec.own(model=start), fit.surface)
    for _ in range(_LONGER - 1):
        if found.status.outcome != Outcome.STEP_LIMIT:
            break
        found = calibrate(spec.own(model=found.model), fit.surface)
    return replace(found, spec=fit.spec.own(model=begin))
