"""The scale of a robust loss from the residuals themselves.

The rule, for one surface and for each of many: fit without robustness; take the noise to be 1.4826 times the median of
the absolute residuals of all quotes used (their MAD about zero, the standard deviation where they are normal); fit with
the loss at `tuning` times that, from where the fit before ended; and again, until the scale changes by less than 1 %,
ten times at most. The median is over quotes, unweighted, so the half of them that fit worst has no say in it. The scale
stays above 1 % of the first fit's root mean square: with noise-free quotes between the bad ones it would go to zero.

R. Maronna, D. Martin, V. Yohai, "Robust Statistics" (2006), sections 2.5 and 4.4.
"""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxcal.calibration.objective.loss import AbstractLoss, at_scale
from jaxcal.calibration.results.fit import Fit
from jaxcal.models.base import AbstractModel

Model = TypeVar("Model", bound=AbstractModel)
Numbers = Float[np.ndarray, "..."]

UNBOUNDED = 1e8  # a scale at which a loss is least squares, to rounding: the first fit then needs no program of its own
MOST_ROUNDS = 10
_TOLERANCE = 0.01
_LEAST = 0.01  # of the first fit's root mean square
_NORMAL = 1.4826


def scale_of(tuning: float, residuals: Numbers, least: Numbers) -> Numbers:
    """The scale, `[b]`, that residuals `[b, ...]`, NaN at padding, ask for of a loss with that `tuning`.

    It is not below `least`, and NaN without residuals.

    Example:
        >>> from jaxcal.calibration.robust_scale import scale_of
        >>> noise = np.random.default_rng(0).normal(scale=0.003, size=(1, 20_000))
        >>> scale_of(1.345, noise, np.zeros(1)).round(5)
        array([0.00405])
    """
    sizes = np.abs(residuals.reshape(len(residuals), -1))
    some = np.any(np.isfinite(sizes), axis=1)
    middle = np.nanmedian(np.where(some[:, None], sizes, 0.0), axis=1)
    return np.where(some, np.maximum(tuning * _NORMAL * middle, least), np.nan)


def least_scale(residuals: Numbers) -> Numbers:
    """The smallest scale that is used after a first fit with residuals `[b, ...]`; `[b]`."""
    flat = residuals.reshape(len(residuals), -1)
    known = np.isfinite(flat)
    squares = np.sum(np.where(known, flat, 0.0) ** 2, axis=1) / np.maximum(known.sum(axis=1), 1)
    return _LEAST * np.sqrt(squares)


def unsettled(scale: Numbers, before: Numbers) -> np.ndarray:
    """Where another fit is worth its time: the scale is a number, and not that of the fit before."""
    return np.isfinite(scale) & (scale > 0) & ~(np.abs(scale - before) <= _TOLERANCE * before)


def fit_with_own_scale(
    run: Callable[[type[Model] | Model, AbstractLoss], Fit[Model]],
    start: type[Model] | Model,
    loss: AbstractLoss,
    perfect: float,
) -> Fit[Model]:
    """One surface fitted by the rule of this module; `run` fits from a start with a loss of given scale.

    A fit that is exact to `perfect` (root mean square, volatility) needs no robustness and is kept.
    """
    fit = run(start, at_scale(loss, UNBOUNDED))
    steps, least = fit.num_steps, least_scale(np.asarray(fit.residuals)[None])
    scale = np.asarray([UNBOUNDED])
    for _ in range(MOST_ROUNDS):
        new = scale_of(loss.tuning, np.asarray(fit.residuals)[None], least)
        if float(fit.rmse_vol) <= perfect or not unsettled(new, scale)[0]:
            break
        fit, scale = run(fit.model, at_scale(loss, float(new[0]))), new
        steps = steps + fit.num_steps
    return eqx.tree_at(lambda f: f.num_steps, fit, steps)
