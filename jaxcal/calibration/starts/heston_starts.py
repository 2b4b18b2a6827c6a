"""Where fits of diffusions start: variances from the term structure, correlation and vol of variance from the skews."""

import numpy as np

from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.start_rule import Range, Ranges, Rules, StartRule, Values, read_parameters
from jaxcal.models.diffusions.black_scholes import BlackScholes
from jaxcal.models.diffusions.clocked_double_heston import ClockedDoubleHeston
from jaxcal.models.diffusions.double_heston import DoubleHeston
from jaxcal.models.diffusions.heston import Heston
from jaxcal.models.diffusions.hull_white import BlackScholesHullWhite, HestonHullWhite
from jaxcal.models.diffusions.piecewise_heston import PiecewiseHeston

_KAPPAS = np.geomspace(0.2, 40.0, 12)  # speeds of mean reversion tried
_BUCKETS, _PACES = 4, 11  # intervals of time where the caller names no knots
_RATES = {"mean_reversion": 0.05, "rate_vol": 0.01}


def _black_scholes(shape: SmileShape) -> list[Values]:
    return [{"sigma": shape.level}]


def _black_scholes_hull_white(shape: SmileShape) -> list[Values]:
    return [{"sigma": shape.level, **_RATES, "rate_correlation": 0.1}]


def heston_values(shape: SmileShape) -> list[Values]:
    """Variances from the term structure, rho sigma from the skews, for the speed of mean reversion that fits both best.

    Given kappa, the expected average variance is linear in (v0, theta), and to first order in sigma the skew is
    (rho sigma / 2 vol) (1 - (1 - e^-x) / x) / x with x = kappa T (A. Lewis, Option valuation under stochastic
    volatility, 2000).
    """
    xp = shape.xp
    t, vol, skew, count, _ = shape
    weight, variance = xp.sqrt(count), vol**2
    total = xp.sum(weight, axis=-1)
    level = xp.sum(weight * variance, axis=-1) / xp.maximum(total, 1e-12)

    # of every kappa at once, along the first axis
    kappas = _KAPPAS.astype(t.dtype).reshape(-1, *(1,) * t.ndim)
    x = kappas * t
    fading = -xp.expm1(-x) / x
    growing = 1.0 - fading
    # least squares for v0 and theta, drawn weakly to the mean level so that one expiry is enough
    ridge = 1e-3 * total
    a, b, c = (
        xp.sum(weight * f, axis=-1) + ridge * d for f, d in ((fading**2, 1), (fading * growing, 0), (growing**2, 1))
    )
    first, second = (xp.sum(weight * f * variance, axis=-1) + ridge * level for f in (fading, growing))
    determinant = a * c - b * b
    v0 = xp.maximum((c * first - b * second) / determinant, 0.1 * level)
    theta = xp.maximum((a * second - b * first) / determinant, 0.1 * level)
    expected = fading * v0[..., None] + growing * theta[..., None]
    misfit = xp.sum(weight * ((expected - variance) / level[..., None]) ** 2, axis=-1)
    steep = growing / x / (2 * vol)
    slope = xp.sum(weight * steep * skew, axis=-1) / xp.maximum(xp.sum(weight * steep**2, axis=-1), 1e-30)
    missed = xp.sum(weight * t * (steep * slope[..., None] - skew) ** 2, axis=-1)
    misfit = misfit + missed / xp.maximum(xp.sum(weight * t * skew**2, axis=-1), 1e-12)
    best = xp.argmin(misfit, axis=0)[None]
    v0, theta, slope = (xp.take_along_axis(x, best, axis=0)[0] for x in (v0, theta, slope))
    kappa = xp.take(_KAPPAS.astype(t.dtype), best[0])
    # with rho about -0.6 when there is a skew, and a vol of variance that is alive when there is none
    sigma = xp.maximum(xp.abs(slope) / 0.6, 0.5 * xp.sqrt(kappa * theta))
    return [{"v0": v0, "kappa": kappa, "theta": theta, "sigma": sigma, "rho": xp.clip(slope / sigma, -0.8, 0.8)}]


def _heston_hull_white(shape: SmileShape) -> list[Values]:
    return [values | _RATES for values in heston_values(shape)]


def two_factors(values: Values) -> list[Values]:
    """Heston's parameters split between a fast and a slow factor, in three ways.

    Example:
        >>> heston = {"v0": 0.04, "kappa": 2.0, "theta": 0.05, "sigma": 0.6, "rho": -0.7}
        >>> [(two["kappa_1"], two["kappa_2"]) for two in two_factors(heston)]
        [(8.0, 0.5), (3.0, 0.2), (30.0, 1.4)]
    """
    found = []
    for faster, slower in ((4.0, 0.25), (1.5, 0.1), (15.0, 0.7)):
        fast = {"v0": 0.5, "kappa": faster, "theta": 0.3, "sigma": faster**0.5, "rho": 1.0}
        slow = {"v0": 0.5, "kappa": slower, "theta": 0.7, "sigma": slower**0.5, "rho": 0.9}
        found.append({f"{name}_{i}": values[name] * part[name] for i, part in ((1, fast), (2, slow)) for name in part})
    return found


def on_a_clock(shape: SmileShape, values: Values) -> list[Values]:
    """A slow and a fast factor on a clock without knots yet: three starts for this model, two of `DoubleHeston`.

    The clock offsets growing variance, so the slow factor may grow without bound; the second start allows for that.
    """
    level, rho = shape.level, shape.xp.clip(values["rho"], -0.9, 0.9)
    variance = level**2
    v0, _, theta, sigma, _ = (values[name] for name in Heston.bounds)
    calm = (0.5 * variance, 8.0, variance, 6.0 * level, rho)
    pairs = (
        ((0.5 * v0, 1.0, 3.0 * theta, 0.7 * sigma, rho), (0.5 * v0, 8.0, theta, sigma, rho)),
        ((0.5 * variance, 0.1, 100.0 * variance, 10.0 * level, rho), calm),
        ((0.5 * variance, 1.0, 3.0 * variance, 3.0 * level, rho), calm),
    )
    names = [f"{name}_{factor}" for factor in (1, 2) for name in Heston.bounds]
    own = [dict(zip(names, (*slow, *fast), strict=True)) for slow, fast in pairs]
    clock = {"pace": np.ones(0), "knots": np.ones(0)}
    return [two | clock for two in (*own, *two_factors(values)[:2])]


def variance_range(level: float) -> Range:
    """Of a variance, where `level` is that of volatility."""
    return 0.1 * level**2, 10.0 * level**2


def vol_ranges(level: float) -> Ranges:
    """Of a volatility beside which there may be jumps."""
    return {"sigma": (0.2 * level, 2.0 * level)}


def heston_ranges(level: float) -> Ranges:
    """Of Heston's parameters."""
    diffusion = {"kappa": (0.1, 60.0), "sigma": (0.1, 15.0), "rho": (-0.95, 0.95)}
    return {"v0": variance_range(level), "theta": variance_range(level), **diffusion}


def _double_heston_ranges(level: float) -> Ranges:
    return {f"{name}_{i}": ends for i in (1, 2) for name, ends in heston_ranges(level).items()}


def _clocked_double_heston_ranges(level: float) -> Ranges:
    """The clock makes up for variances that grow far beyond those of today."""
    grown = {f"theta_{i}": (0.1 * level**2, 1000.0 * level**2) for i in (1, 2)}
    return _double_heston_ranges(level) | grown | {f"kappa_{i}": (0.03, 60.0) for i in (1, 2)} | {"pace": (0.1, 3.0)}


HESTON_STARTS: Rules = {
    BlackScholes: StartRule(_black_scholes, vol_ranges),
    BlackScholesHullWhite: StartRule(_black_scholes_hull_white, vol_ranges),
    Heston: StartRule(heston_values, heston_ranges),
    HestonHullWhite: StartRule(_heston_hull_white, heston_ranges),
    PiecewiseHeston: StartRule(ranges=heston_ranges, simpler=Heston, piecewise=True, num_knots=_BUCKETS),
    DoubleHeston: StartRule(
        lambda shape: two_factors(heston_values(shape)[0]),
        _double_heston_ranges,
        Heston,
        lambda _, heston: two_factors(read_parameters(heston)),
    ),
    ClockedDoubleHeston: StartRule(
        lambda shape: on_a_clock(shape, heston_values(shape)[0]),
        _clocked_double_heston_ranges,
        Heston,
        lambda shape, heston: on_a_clock(shape, read_parameters(heston)),
        num_knots=_PACES,
    ),
}
