"""The scale on which the error of a parameter is judged: relative for positive ones, absolute for correlations."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval

Numbers = NDArray[np.floating]


def own_size(model: AbstractModel, name: str) -> Numbers:
    """What counts as one in a parameter, in its units, of the shape of the parameter: for a positive one its value,
    above its origin where it has one; for a correlation or another share 1; for any other the size of its value.

    Example:
        >>> import jaxcal as jc
        >>> model = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> float(own_size(model, "theta")), float(own_size(model, "rho"))
        (0.06, 1.0)
    """
    interval, value = model.bounds[name], _array(getattr(model, name))
    if interval.scale == "log":
        return _array(np.abs(value - (_array(interval.origin(model)) if interval.origin else 0.0)))
    return np.ones_like(value) if is_share(interval) else _array(np.abs(value))


def is_share(interval: Interval) -> bool:
    """Whether a parameter lies within -1 and 1 by its nature, as correlations do."""
    return interval.scale == "linear" and interval.unit is None and -1.0 <= interval.lower < interval.upper <= 1.0


def moved(model: AbstractModel, name: str, amount: ArrayLike) -> Numbers:
    """A parameter moved by `amount`, in its units to first order, on the scale on which its error is most nearly
    normal, so that it stays inside its bounds: the logarithm of a positive parameter, Fisher's z (the inverse
    hyperbolic tangent of its place between its bounds) of a correlation; any other as it is, up to its bounds.

    Args:
        model: its fields, and `amount`, have one shape.
        name: of the parameter.
        amount: NaN gives NaN.

    Example:
        >>> import jaxcal as jc
        >>> model = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.9)
        >>> print(moved(model, "kappa", np.asarray(-3.0)).round(3), moved(model, "rho", np.asarray(-0.3)).round(3))
        0.203 -0.995
    """
    interval, value = model.bounds[name], _array(getattr(model, name))
    low, high = interval.lower, interval.upper
    place = _array(interval.relative(value, model))
    # of the place, in its own unit: at the same values of the parameters that unit and origin are made of
    one = _array(interval.relative(value + 1.0, model)) - place
    shift = np.asarray(amount, np.float64) * one
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if interval.scale == "log":
            place = place * np.exp(np.clip(shift / place, -700.0, 700.0))
        elif is_share(interval):
            half = 0.5 * (high - low)
            share = np.clip((place - 0.5 * (low + high)) / half, -1.0, 1.0)
            place = low + half * (1.0 + np.tanh(np.arctanh(share) + shift / half / (1.0 - share**2)))
        else:
            place = place + shift
        place = np.clip(place, low, high)
    return _array(interval.absolute(place, model))


def _array(value: Any) -> Numbers:
    return np.asarray(value, np.float64)
