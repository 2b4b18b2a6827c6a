"""Initial guesses for smiles: at-the-money level and skew of every expiry, or of their term structure."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxcal.calibration.starts.heston_starts import variance_range
from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.start_rule import Ranges, Rules, StartRule, Values
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.models.smiles.arbitrage_free_svi import ArbitrageFreeSVI
from jaxcal.models.smiles.essvi import ESSVI
from jaxcal.models.smiles.sabr import SABR, NormalSABR
from jaxcal.models.smiles.ssvi import SSVI, SSVIHeston
from jaxcal.models.smiles.svi import SVI


def _sabr(shape: SmileShape) -> list[Values]:
    """Skew rho nu / 2 and at-the-money volatility alpha, of the lognormal case (Hagan 2002, eq. 3.1)."""
    xp = shape.xp
    nu = xp.maximum(xp.minimum(1.0 / xp.sqrt(shape.expiry), 5.0), 3.0 * xp.abs(shape.skew))
    rho = xp.clip(2.0 * shape.skew / nu, -0.8, 0.8)
    return [{"alpha": shape.vol, "beta": xp.ones_like(rho), "rho": rho, "nu": nu}]


def _normal_sabr(shape: SmileShape) -> list[Values]:
    """As `_sabr`, from normal volatilities: alpha, and the skew rho nu / 2 on top of the -vol / 2 of a normal law."""
    xp = shape.xp
    skew = shape.skew + 0.5 * shape.vol
    nu = xp.maximum(xp.minimum(1.0 / xp.sqrt(shape.expiry), 5.0), 3.0 * xp.abs(skew))
    return [{"alpha": shape.vol * shape.forward, "rho": xp.clip(2.0 * skew / nu, -0.8, 0.8), "nu": nu}]


def _svi(shape: SmileShape) -> list[Values]:
    """Hyperbolas with their vertex at the money, of three widths, through the level and skew there."""
    xp = shape.xp
    t, vol, skew, _, _ = shape
    w, slope = vol**2 * t, 2.0 * vol * skew * t
    found = []
    for width in (1.0, 0.3, 3.0):
        sigma = width * vol * xp.sqrt(t)
        b = xp.maximum(0.3 * w / sigma, 1.5 * xp.abs(slope))
        rho = xp.clip(slope / b, -0.8, 0.8)
        found.append({"a": w - b * sigma, "b": b, "rho": rho, "m": xp.zeros_like(w), "sigma": sigma})
    return found


def _ssvi(shape: SmileShape) -> list[Values]:
    return [_term_structure(shape) | {"rho": 0.4 * shape.side, "eta": eta, "gamma": 0.4} for eta in (1.0, 0.3)]


def _ssvi_heston(shape: SmileShape) -> list[Values]:
    return [_term_structure(shape) | {"rho": 0.4 * shape.side, "lam": lam} for lam in (2.0, 20.0)]


def _term_structure(shape: SmileShape) -> Values:
    """Forward variances at the money between the expiries, of the quoted ones; total variance must not fall."""
    xp = shape.xp
    quoted = shape.quotes > 0
    w = xp.where(quoted, shape.vol**2 * shape.expiry, 0.0)
    nothing = xp.zeros((*w.shape[:-1], 1))
    before_t = xp.concatenate([nothing, shape.expiry[..., :-1]], axis=-1)
    before_w = xp.concatenate([nothing, xp.maximum.accumulate(w, axis=-1)[..., :-1]], axis=-1)
    step = xp.where(quoted, shape.expiry - before_t, 1.0)
    forward = xp.where(quoted, (w - before_w) / xp.where(step > 0, step, 1.0), 1.0)
    return {"knots": shape.expiry, "variance": xp.maximum(forward, 0.05 * shape.vol**2)}


def _essvi(shape: SmileShape) -> list[Values]:
    """A slice through the level and skew of every expiry, with 2 w as steep in its wings as the total volatility, or
    steeper for the skew; where that would be arbitrage, the least surface above.
    """
    xp = shape.xp
    quoted = shape.quotes > 0
    theta = xp.where(quoted, shape.vol**2 * shape.expiry, 0.0)
    tilt = xp.where(quoted, 2.0 * shape.vol * shape.skew * shape.expiry, 0.0)  # rho psi
    psi = xp.maximum(xp.sqrt(theta), 1.25 * xp.abs(tilt))
    right, left = (-4.0 * xp.log1p(-xp.minimum(0.25 * slope, 0.9)) for slope in (psi + tilt, psi - tilt))
    # an expiry without quotes repeats the knot before, and adds nothing
    return [{
        "knots": xp.maximum.accumulate(xp.where(quoted, shape.expiry, 0.0), axis=-1),
        "right": _rises(right, xp),
        "left": _rises(left, xp),
        "width": _rises(theta / xp.where(quoted, psi, 1.0), xp),
    }]  # fmt: skip


def _arbitrage_free_svi(shape: SmileShape, essvi: Any) -> list[Values]:
    """The slices of the fit of `ESSVI`, which are SVI; of many surfaces where its fields have a leading axis."""
    found = _numbers_of_essvi(essvi.knots, essvi.right, essvi.left, essvi.width)
    names = ("knots", *ArbitrageFreeSVI.bounds)
    return [{name: shape.xp.asarray(x) for name, x in zip(names, found, strict=True)}]


@partial(QuickJit, rare=True, task="starting points")
@partial(jnp.vectorize, signature="(n),(n),(n),(n)->(n),(n),(n),(n),(n),(n)")
def _numbers_of_essvi(knots: Array, right: Array, left: Array, width: Array) -> tuple[Array, ...]:
    essvi = ESSVI(knots, right, left, width)
    at = essvi.slices(knots)
    room, h = jnp.sqrt((1.0 - at.rho) * (1.0 + at.rho)), at.theta / at.psi
    slices = SVI(0.5 * at.theta * room**2, 0.5 * at.psi, at.rho, -at.rho * h, h * room)
    found = ArbitrageFreeSVI.of_slices(knots, slices)
    return found.knots, found.right, found.left, found.m, found.sigma, found.lift


def _rises(values: Any, xp: Any) -> Any:
    """By how much the largest value so far rises at each place."""
    largest = xp.maximum.accumulate(values, axis=-1)
    return xp.concatenate([largest[..., :1], largest[..., 1:] - largest[..., :-1]], axis=-1)


def _ssvi_ranges(level: float) -> Ranges:
    return {"variance": variance_range(level), "rho": (-0.95, 0.95)}


SMILE_STARTS: Rules = {
    SABR: StartRule(_sabr),
    NormalSABR: StartRule(_normal_sabr),
    SVI: StartRule(_svi, rounds=10),
    ESSVI: StartRule(_essvi, rounds=10, by_quoted_expiry=True),
    ArbitrageFreeSVI: StartRule(simpler=ESSVI, extend=_arbitrage_free_svi, in_turn=True, rounds=15),
    SSVI: StartRule(_ssvi, _ssvi_ranges, rounds=10, by_quoted_expiry=True),
    SSVIHeston: StartRule(_ssvi_heston, _ssvi_ranges, rounds=10, by_quoted_expiry=True),
}
