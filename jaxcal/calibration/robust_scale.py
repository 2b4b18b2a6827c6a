"""The scale of a robust loss from the residuals themselves.

The rule, for one surface and for each of many: fit without robustness; take the noise to be 1.4826 times the median of
the absolute residuals of all quotes used (their MAD about zero, the standard deviation where they are normal); fit with
the loss at `tuning` times that, from where the fit before ended; and again, until the scale changes by less than 1 %,
ten times at most. The median is over quotes, unweighted, so the half of them that fit worst has no say in it. The scale
stays above 1 % of the first fit's root mean square: with noise-free quotes between the bad ones it would go to zero.

R. Maronna, D. Martin, V. Yohai, "Robust Statistics" (2006), sections 2.5 and 4.4.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from jaxcal.calibration.engine.grid_fit import GridFit, LossAndPrior
from jaxcal.calibration.engine.grid_refinement import PERFECT
from jaxcal.calibration.engine.multistart import AbstractQuotes, multistart
from jaxcal.calibration.objective.loss import at_scale
from jaxcal.models.base import AbstractModel

Numbers = Float[np.ndarray, "..."]

UNBOUNDED = 1e8  # a scale at which a loss is least squares, to rounding: the first fit then needs no program of its own
MOST_ROUNDS = 10
_TOLERANCE = 0.01
_LEAST = 0.01  # of the first fit's root mean square
_NORMAL = 1.4826


def estimate_scale(tuning: float, residuals: Numbers, least: Numbers) -> Numbers:
    """The scale, `[b]`, that residuals `[b, ...]`, NaN at padding, ask for of a loss with that `tuning`.

    It is not below `least`, and NaN without residuals.

    Example:
        >>> noise = np.random.default_rng(0).normal(scale=0.003, size=(1, 20_000))
        >>> estimate_scale(1.345, noise, np.zeros(1)).round(5)
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


def fit_at_own_scale(
    model: type[AbstractModel] | AbstractModel, quotes: AbstractQuotes, own: LossAndPrior, *, several: bool
) -> tuple[GridFit, LossAndPrior]:
    """Surfaces fitted by the rule of this module, and the loss, with its scale, and the prior of each.

    A fit that is exact needs no robustness and is kept.
    """
    loss: Any = own.loss
    shared = quotes.broadcast(at_scale(loss, UNBOUNDED))

    def at(scale: NDArray[np.floating]) -> LossAndPrior:
        return own._replace(loss=at_scale(shared, quotes.numbers(scale)))

    scale, left = np.full(quotes.size, UNBOUNDED), np.ones(quotes.size, bool)
    found = multistart(model, quotes, at(scale), several=several).found
    least = least_scale(quotes.residuals(found))
    for _ in range(MOST_ROUNDS):
        new = estimate_scale(loss.tuning, quotes.residuals(found), least)
        left &= unsettled(new, scale) & ~(quotes.rmse_vol(found) <= PERFECT)
        if not left.any():
            break
        scale = np.where(left, new, scale)
        found = quotes.refit(found, left, at(scale))
    return found, at(scale)
