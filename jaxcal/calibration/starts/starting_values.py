"""Where a fit starts: parameters read off the surface, and for a model with several optima the points to try."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache, partial
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.starts.skewed_jumps import skewed
from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.two_factors import on_a_clock, two_factors
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.market.surface import Surface
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
from jaxcal.models.smiles.sabr import SABR, NormalSABR
from jaxcal.models.smiles.ssvi import SSVI, SSVIHeston
from jaxcal.models.smiles.svi import SVI

Model = TypeVar("Model", bound=AbstractModel)
Values = dict[str, Any]
Kind = type[AbstractModel]

GROWN = (PiecewiseHeston, PiecewiseBates)  # fitted to the shortest expiries first, then to more and more of them
_KAPPAS = np.geomspace(0.2, 40.0, 12)  # speeds of mean reversion tried
# Jumps that a fit starts from: intensity; mean (to the side of the skew) and standard deviation in levels of vol.
# Real surfaces have optima with rare large jumps and others with frequent small ones.
_JUMPS = ((20.0, 0.05, 0.15), (0.3, 1.0, 1.0), (2.0, 0.4, 0.4))
_BUCKETS, _PACES = 4, 11  # intervals of time where the caller names no knots
_RATES = {"mean_reversion": 0.05, "rate_vol": 0.01}


def starts_from(model: type[Model], surface: Surface, simpler: AbstractModel | None = None) -> list[Model]:
    """Starting models for `surface`, within the bounds, the most promising first; `simpler` is the fit of
    `simpler_model(model)`, where there is one. A model without a rule of its own starts in the middle of its bounds.
    """
    if model in GROWN:
        several = [simpler] if model is PiecewiseHeston else [simpler, *starts_from(Bates, surface)]
        return [model.of(start, _knots(surface, _BUCKETS)) for start in several]  # type: ignore[attr-defined]
    found = starting_models(model, surface, surface.vol.dtype, simpler)
    if model is ClockedDoubleHeston:
        knots = np.asarray(_knots(surface, _PACES), surface.vol.dtype)
        found = [eqx.tree_at(lambda m: (m.pace, m.knots), start, (np.ones_like(knots), knots)) for start in found]
    if model in (SSVI, SSVIHeston):
        quoted = np.flatnonzero(np.any(np.asarray(surface.weight) > 0, axis=-1))
        found = [jax.tree.map(lambda leaf: leaf[quoted] if leaf.ndim else leaf, start) for start in found]
    return found


def simpler_model(model: Kind) -> Kind | None:
    """The model from whose fit a fit of `model` starts, or None where parameters are read off the surface."""
    return _SIMPLER.get(model)


def starting_models(
    model: type[Model], surface: Surface | Target, dtype: Any, simpler: AbstractModel | None = None
) -> list[Model]:
    """The same, of a model whose parameters do not depend on which expiries are quoted; of many surfaces at once where
    the fields of `surface` and `simpler` have a leading axis. On the host, in double precision.
    """
    with np.errstate(all="ignore"):  # a surface that cannot be fitted may give no numbers
        shape = SmileShape.of(surface)
        if (rule := _RULES.get(model)) is None:
            candidates = [{name: bound.middle for name, bound in model.bounds.items()}]
        else:
            candidates = rule(shape) if simpler is None else _BEYOND[model](shape, simpler)
        return [_within(model, values, shape.level.shape, dtype) for values in candidates]


def _within(model: type[Model], values: Values, batch: tuple[int, ...], dtype: Any) -> Model:
    """A model of these values, moved inside its bounds where it is outside."""
    arrays = {name: np.asarray(value, dtype) for name, value in values.items()}
    arrays = {name: x if x.ndim else np.broadcast_to(x, batch) for name, x in arrays.items()}
    apart = not any(interval.unit or interval.origin for interval in model.bounds.values())
    if apart:
        arrays |= {name: arrays[name].clip(*_inner(interval)) for name, interval in model.bounds.items()}
    structure, names = _structure(model, tuple(arrays))
    start = jax.tree.unflatten(structure, [arrays[name] for name in names])
    return start if apart else jax.tree.map(np.asarray, _inside(start))


def _inner(interval: Interval) -> tuple[float, float]:
    """The ends of an interval for a start: on a logarithmic scale a little inside."""
    lower, upper = interval.lower, interval.upper
    return (1.01 * lower, 0.99 * upper) if interval.scale == "log" else (lower, upper)


@lru_cache
def _structure(model: type[AbstractModel], names: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Of models from numbers that nobody has checked, and the order of their leaves."""
    made = jax.eval_shape(lambda x: model(**dict.fromkeys(names, x)), jax.ShapeDtypeStruct((1,), np.float32))
    return jax.tree.structure(made), tuple(field.name for field in fields(model) if field.name in names)


@partial(QuickJit, rare=True, task="starting points")
def _inside(start: Model) -> Model:
    """Inside bounds that depend on other parameters: those are functions of JAX, which run once a fit."""
    for name, interval in start.bounds.items():
        value = getattr(start, name)
        known = interval.known(start)  # the arbitrage bound of SVI is a search of its own
        inside = known.absolute(jnp.clip(known.relative(value, start), *_inner(interval)), start)
        start = eqx.tree_at(lambda m, name=name: getattr(m, name), start, jnp.asarray(inside, value.dtype))
    return start


def _black_scholes(shape: SmileShape) -> list[Values]:
    return [{"sigma": shape.level}]


def _black_scholes_hull_white(shape: SmileShape) -> list[Values]:
    return [{"sigma": shape.level, **_RATES, "rate_correlation": 0.1}]


def _heston(shape: SmileShape) -> list[Values]:
    """Variances from the term structure, rho sigma from the skews, for the speed of mean reversion that fits both best.

    Given kappa, the expected average variance is linear in (v0, theta), and to first order in sigma the skew is
    (rho sigma / 2 vol) (1 - (1 - e^-x) / x) / x with x = kappa T (A. Lewis, Option valuation under stochastic
    volatility, 2000).
    """
    t, vol, skew, count, _ = shape
    weight, variance = np.sqrt(count), vol**2
    total = np.sum(weight, axis=-1)
    level = np.sum(weight * variance, axis=-1) / np.maximum(total, 1e-12)

    # of every kappa at once, along the first axis
    kappas = _KAPPAS.reshape(-1, *(1,) * t.ndim)
    x = kappas * t
    fading = -np.expm1(-x) / x
    growing = 1.0 - fading
    # least squares for v0 and theta, drawn weakly to the mean level so that one expiry is enough
    ridge = 1e-3 * total
    a, b, c = (
        np.sum(weight * f, axis=-1) + ridge * d for f, d in ((fading**2, 1), (fading * growing, 0), (growing**2, 1))
    )
    first, second = (np.sum(weight * f * variance, axis=-1) + ridge * level for f in (fading, growing))
    determinant = a * c - b * b
    v0 = np.maximum((c * first - b * second) / determinant, 0.1 * level)
    theta = np.maximum((a * second - b * first) / determinant, 0.1 * level)
    expected = fading * v0[..., None] + growing * theta[..., None]
    misfit = np.sum(weight * ((expected - variance) / level[..., None]) ** 2, axis=-1)
    steep = growing / x / (2 * vol)
    slope = np.sum(weight * steep * skew, axis=-1) / np.maximum(np.sum(weight * steep**2, axis=-1), 1e-30)
    missed = np.sum(weight * t * (steep * slope[..., None] - skew) ** 2, axis=-1)
    misfit = misfit + missed / np.maximum(np.sum(weight * t * skew**2, axis=-1), 1e-12)
    best = np.argmin(misfit, axis=0)[None]
    v0, theta, slope = (np.take_along_axis(x, best, axis=0)[0] for x in (v0, theta, slope))
    kappa = _KAPPAS[best[0]]
    # with rho about -0.6 when there is a skew, and a vol of variance that is alive when there is none
    sigma = np.maximum(np.abs(slope) / 0.6, 0.5 * np.sqrt(kappa * theta))
    return [{"v0": v0, "kappa": kappa, "theta": theta, "sigma": sigma, "rho": np.clip(slope / sigma, -0.8, 0.8)}]


def _jumps(shape: SmileShape) -> list[Values]:
    side, level = shape.side, shape.level
    return [
        {"jump_intensity": intensity, "jump_mean": side * mean * level, "jump_std": std * level}
        for intensity, mean, std in _JUMPS
    ]


def _heston_hull_white(shape: SmileShape) -> list[Values]:
    return [values | _RATES for values in _heston(shape)]


def _bates(shape: SmileShape) -> list[Values]:
    return [values | jumps for values in _heston(shape) for jumps in _jumps(shape)]


def _bates_beyond(shape: SmileShape, heston: AbstractModel) -> list[Values]:
    return [_fields(heston) | jumps for jumps in _jumps(shape)]


def _svcj(shape: SmileShape) -> list[Values]:
    variance = shape.level**2
    return [values | {"variance_jump_mean": variance, "jump_correlation": 0.0} for values in _bates(shape)]


def _svcj_beyond(shape: SmileShape, bates: AbstractModel) -> list[Values]:
    """Jumps of the Bates fit and others, with small and large jumps of the variance, and to one side."""
    base, variance = _fields(bates), shape.level**2
    small, large = ({"variance_jump_mean": s * variance, "jump_correlation": 0.0} for s in (0.3, 3.0))
    many, rare, _ = (base | jumps for jumps in _jumps(shape))
    upright = [base | small, base | large, many | large, rare | large]
    return [*upright, skewed(base, -0.6, variance), skewed(rare, 0.6, variance)]


def _merton(shape: SmileShape) -> list[Values]:
    return [{"sigma": 0.7 * shape.level} | jumps for jumps in _jumps(shape)]


def _kou(shape: SmileShape) -> list[Values]:
    falls, found = shape.side < 0, []
    for intensity, size in ((2.0, 0.4), (20.0, 0.12), (0.3, 1.0)):
        mean = size * shape.level
        up, down = np.where(falls, 0.6, 1.0) * mean, np.where(falls, 1.0, 0.6) * mean
        found.append({
            "sigma": 0.7 * shape.level, "jump_intensity": intensity, "p_up": np.where(falls, 0.35, 0.65),
            "eta_up": np.maximum(1.0 / up, 1.5), "eta_down": 1.0 / down,
        })  # fmt: skip
    return found


def _variance_gamma(shape: SmileShape) -> list[Values]:
    return [
        {"sigma": 0.95 * shape.level, "nu": nu, "theta": 0.3 * shape.side * shape.level / max(1.0, nu**0.5)}
        for nu in (0.1, 0.01, 1.0)
    ]


def _nig(shape: SmileShape) -> list[Values]:
    found = []
    for per_level in (4.0, 1.5, 12.0):
        alpha = per_level / shape.level + 0.6
        beta = 0.3 * shape.side * per_level / shape.level - 0.5
        delta = shape.level**2 * (alpha**2 - beta**2) ** 1.5 / alpha**2
        found.append({"alpha": alpha, "beta": beta, "delta": delta})
    return found


def _cgmy(shape: SmileShape) -> list[Values]:
    found = []
    for y, per_level in ((0.8, 2.0), (1.5, 1.0), (0.2, 4.0)):
        g = np.where(shape.side < 0, 0.7, 1.4) * per_level / shape.level
        m = np.where(shape.side < 0, 1.4, 0.7) * per_level / shape.level + 1.0
        variance = math.gamma(2.0 - y) * (g ** (y - 2.0) + m ** (y - 2.0))
        found.append({"c": shape.level**2 / variance, "g": g, "m": m, "y": y})
    return found


def _sabr(shape: SmileShape) -> list[Values]:
    """Skew rho nu / 2 and at-the-money volatility alpha, of the lognormal case (Hagan 2002, eq. 3.1)."""
    nu = np.maximum(np.minimum(1.0 / np.sqrt(shape.expiry), 5.0), 3.0 * np.abs(shape.skew))
    rho = np.clip(2.0 * shape.skew / nu, -0.8, 0.8)
    return [{"alpha": shape.vol, "beta": np.ones_like(rho), "rho": rho, "nu": nu}]


def _normal_sabr(shape: SmileShape) -> list[Values]:
    """As `_sabr`, from normal volatilities: alpha, and the skew rho nu / 2 on top of the -vol / 2 of a normal law."""
    skew = shape.skew + 0.5 * shape.vol
    nu = np.maximum(np.minimum(1.0 / np.sqrt(shape.expiry), 5.0), 3.0 * np.abs(skew))
    return [{"alpha": shape.vol * shape.forward, "rho": np.clip(2.0 * skew / nu, -0.8, 0.8), "nu": nu}]


def _svi(shape: SmileShape) -> list[Values]:
    """Hyperbolas with their vertex at the money, of three widths, through the level and skew there."""
    t, vol, skew, _, _ = shape
    w, slope = vol**2 * t, 2.0 * vol * skew * t
    found = []
    for width in (1.0, 0.3, 3.0):
        sigma = width * vol * np.sqrt(t)
        b = np.maximum(0.3 * w / sigma, 1.5 * np.abs(slope))
        rho = np.clip(slope / b, -0.8, 0.8)
        found.append({"a": w - b * sigma, "b": b, "rho": rho, "m": np.zeros_like(w), "sigma": sigma})
    return found


def _ssvi(shape: SmileShape) -> list[Values]:
    return [_term_structure(shape) | {"rho": 0.4 * shape.side, "eta": eta, "gamma": 0.4} for eta in (1.0, 0.3)]


def _ssvi_heston(shape: SmileShape) -> list[Values]:
    return [_term_structure(shape) | {"rho": 0.4 * shape.side, "lam": lam} for lam in (2.0, 20.0)]


def _term_structure(shape: SmileShape) -> Values:
    """Forward variances at the money between the expiries, of the quoted ones; total variance must not fall."""
    quoted = shape.quotes > 0
    w = np.where(quoted, shape.vol**2 * shape.expiry, 0.0)
    nothing = np.zeros((*w.shape[:-1], 1))
    before_t = np.concatenate([nothing, shape.expiry[..., :-1]], axis=-1)
    before_w = np.concatenate([nothing, np.maximum.accumulate(w, axis=-1)[..., :-1]], axis=-1)
    step = np.where(quoted, shape.expiry - before_t, 1.0)
    forward = np.where(quoted, (w - before_w) / np.where(step > 0, step, 1.0), 1.0)
    return {"knots": shape.expiry, "variance": np.maximum(forward, 0.05 * shape.vol**2)}


def _knots(surface: Surface, intervals: int) -> Float[np.ndarray, " n"]:
    """Expiries that divide the quoted ones into at most so many groups of about the same number."""
    quoted = np.asarray(surface.expiry)[np.any(np.asarray(surface.weight) > 0, axis=-1)]
    groups = np.array_split(quoted, min(intervals, max(1, quoted.size)))
    return np.asarray([group[-1] for group in groups[:-1]])


def _fields(model: AbstractModel) -> Values:
    return {name: np.asarray(getattr(model, name), np.float64) for name in model.bounds}


_RULES: Mapping[Kind, Callable[[SmileShape], list[Values]]] = {
    BlackScholes: _black_scholes, BlackScholesHullWhite: _black_scholes_hull_white, Heston: _heston,
    HestonHullWhite: _heston_hull_white, Bates: _bates, SVCJ: _svcj, Merton: _merton, Kou: _kou,
    VarianceGamma: _variance_gamma, NIG: _nig, CGMY: _cgmy, SABR: _sabr, NormalSABR: _normal_sabr, SVI: _svi,
    SSVI: _ssvi, SSVIHeston: _ssvi_heston, DoubleHeston: lambda shape: two_factors(_heston(shape)[0]),
    ClockedDoubleHeston: lambda shape: on_a_clock(shape, _heston(shape)[0]),
}  # fmt: skip
_SIMPLER: Mapping[Kind, Kind] = {
    Bates: Heston, SVCJ: Bates, DoubleHeston: Heston, PiecewiseHeston: Heston, PiecewiseBates: Bates,
    ClockedDoubleHeston: Heston,
}  # fmt: skip
_BEYOND: Mapping[Kind, Callable] = {
    Bates: _bates_beyond, SVCJ: _svcj_beyond, DoubleHeston: lambda _, heston: two_factors(_fields(heston)),
    ClockedDoubleHeston: lambda shape, heston: on_a_clock(shape, _fields(heston)),
}  # fmt: skip
