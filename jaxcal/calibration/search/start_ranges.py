"""Where the starts of a global search are drawn: the ranges that markets have shown, by model."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.arguments import Bounds
from jaxcal.calibration.starts.start_rule import Range
from jaxcal.calibration.starts.starting_values import find_start_rule
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval


def find_ranges(
    template: type[AbstractModel],
    names: tuple[str, ...],
    limits: Mapping[str, Interval],
    bounds: Bounds | None,
    ranges: Mapping[str, Range] | None,
    level: float,
) -> dict[str, Interval]:
    """For each of `names` the interval that its starts are drawn from, inside its bounds.

    The caller's `ranges` first, then those of the model at a `level` of volatility, then the bounds themselves. All
    count a parameter as its bounds do.

    Raises:
        ValueError: `ranges` name what is not searched, or an interval that is empty or outside the bounds.
    """
    given = dict(ranges or {})
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"ranges name {unknown[0]!r}, which is not searched here ({', '.join(names)})")
    rule = find_start_rule(template).ranges  # without one, such as of a user's own model: all over the bounds
    usual = {} if rule is None else rule(level)
    found = {}
    for name in names:
        limit = limits[name]
        lower, upper = (float(end) for end in given.get(name, usual.get(name, limit[:2])))
        if name in given and not (lower <= upper and np.isfinite(upper - lower)):
            raise ValueError(f"the range of {name} is ({lower}, {upper}): it must be finite with lower <= upper")
        of_caller = (bounds or {}).get(name)
        if name not in given and isinstance(of_caller, Interval) and (of_caller.unit or of_caller.origin):
            lower, upper = limit[:2]  # in other units than the usual range
        low, high = max(lower, limit.lower), min(upper, limit.upper)
        if not low <= high:
            if name in given:
                raise ValueError(
                    f"the range of {name}, ({lower}, {upper}), is outside its bounds ({limit.lower}, {limit.upper})"
                )
            low, high = limit[:2]
        found[name] = limit._replace(lower=low, upper=high)
    return found


def points_in(
    cube: NDArray[np.floating], model: AbstractModel, names: tuple[str, ...], found: Mapping[str, Interval]
) -> NDArray[np.floating]:
    """Points of the unit cube as search vectors `[n, p]`: even on the scale that each parameter is searched on."""
    sizes = [np.size(getattr(model, name)) for name in names]
    ends = [(found[name].lower, found[name].upper) for name in names]
    scaled = [np.log(end) if found[name].scale == "log" else end for name, end in zip(names, ends, strict=True)]
    lower, upper = (np.repeat([pair[i] for pair in scaled], sizes) for i in (0, 1))
    return lower + cube * (upper - lower)
