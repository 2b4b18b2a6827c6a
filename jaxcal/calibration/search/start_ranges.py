"""Where the starts of a global search are drawn: the ranges that markets have shown, by model."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.arguments import Bounds
from jaxcal.models.base import AbstractModel
from jaxcal.models.diffusions.black_scholes import BlackScholes
from jaxcal.models.diffusions.clocked_double_heston import ClockedDoubleHeston
from jaxcal.models.diffusions.double_heston import DoubleHeston
from jaxcal.models.diffusions.heston import Heston
from jaxcal.models.diffusions.hull_white import BlackScholesHullWhite, HestonHullWhite
from jaxcal.models.diffusions.piecewise_heston import PiecewiseHeston
from jaxcal.models.interval import Interval
from jaxcal.models.jumps.bates import Bates
from jaxcal.models.jumps.kou import Kou
from jaxcal.models.jumps.merton import Merton
from jaxcal.models.jumps.piecewise_bates import PiecewiseBates
from jaxcal.models.jumps.svcj import SVCJ
from jaxcal.models.levy.cgmy import CGMY
from jaxcal.models.levy.nig import NIG
from jaxcal.models.levy.variance_gamma import VarianceGamma
from jaxcal.models.smiles.ssvi import SSVI, SSVIHeston

Range = tuple[float, float]
Ranges = dict[str, Range]


def ranges_of(
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
    rule = _RANGES.get(template)
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


def _variance(level: float) -> Range:
    return 0.1 * level**2, 10.0 * level**2


def _heston(level: float) -> Ranges:
    diffusion = {"kappa": (0.1, 60.0), "sigma": (0.1, 15.0), "rho": (-0.95, 0.95)}
    return {"v0": _variance(level), "theta": _variance(level), **diffusion}


def _jumps(level: float) -> Ranges:
    size = {"jump_mean": (-level, 0.6 * level), "jump_std": (0.02 * level, 1.5 * level)}
    return {"jump_intensity": (0.02, 100.0), **size}


def _bates(level: float) -> Ranges:
    return _heston(level) | _jumps(level)


def _svcj(level: float) -> Ranges:
    """The correlation as its bounds count it: times the mean jump of the variance."""
    of_variance = {"variance_jump_mean": (0.05 * level**2, 10.0 * level**2)}
    return _bates(level) | of_variance | {"jump_correlation": (-level, min(0.5 * level, 0.8))}


def _double_heston(level: float) -> Ranges:
    return {f"{name}_{i}": ends for i in (1, 2) for name, ends in _heston(level).items()}


def _clocked_double_heston(level: float) -> Ranges:
    """The clock makes up for variances that grow far beyond those of today."""
    grown = {f"theta_{i}": (0.1 * level**2, 1000.0 * level**2) for i in (1, 2)}
    return _double_heston(level) | grown | {f"kappa_{i}": (0.03, 60.0) for i in (1, 2)} | {"pace": (0.1, 3.0)}


def _vol(level: float) -> Ranges:
    return {"sigma": (0.2 * level, 2.0 * level)}


def _merton(level: float) -> Ranges:
    return _vol(level) | _jumps(level)


def _kou(level: float) -> Ranges:
    sizes = 1.0 / (1.5 * level), 1.0 / (0.02 * level)
    return _vol(level) | {
        "jump_intensity": (0.02, 100.0), "p_up": (0.05, 0.95), "eta_up": sizes, "eta_down": sizes
    }  # fmt: skip


def _variance_gamma(level: float) -> Ranges:
    return _vol(level) | {"nu": (0.003, 3.0), "theta": (-level, 0.6 * level)}


def _nig(level: float) -> Ranges:
    return {"beta": (-8.0 / level - 0.5, 8.0 / level - 0.5), "alpha": (1.05, 50.0), "delta": _variance(level)}


def _cgmy(level: float) -> Ranges:
    return {"g": (0.5 / level, 20.0 / level), "m": (0.5 / level, 20.0 / level), "y": (-1.0, 1.9), "c": _variance(level)}


def _ssvi(level: float) -> Ranges:
    return {"variance": _variance(level), "rho": (-0.95, 0.95)}


# a model that is not here, such as a user's own, is started all over its bounds
_RANGES: Mapping[Any, Callable[[float], Ranges]] = {
    BlackScholes: _vol, BlackScholesHullWhite: _vol, Heston: _heston, HestonHullWhite: _heston,
    PiecewiseHeston: _heston, DoubleHeston: _double_heston, Bates: _bates, PiecewiseBates: _bates, SVCJ: _svcj,
    ClockedDoubleHeston: _clocked_double_heston,
    Merton: _merton, Kou: _kou, VarianceGamma: _variance_gamma, NIG: _nig, CGMY: _cgmy, SSVI: _ssvi, SSVIHeston: _ssvi,
}  # fmt: skip
