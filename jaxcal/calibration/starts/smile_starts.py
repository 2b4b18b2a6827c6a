"""Initial guesses for smiles: at-the-money level and skew of every expiry, or of their term structure."""

import numpy as np

from jaxcal.calibration.starts.heston_starts import variance_range
from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.start_rule import Ranges, Rules, StartRule, Values
from jaxcal.models.smiles.sabr import SABR, NormalSABR
from jaxcal.models.smiles.ssvi import SSVI, SSVIHeston
from jaxcal.models.smiles.svi import SVI


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


def _ssvi_ranges(level: float) -> Ranges:
    return {"variance": variance_range(level), "rho": (-0.95, 0.95)}


SMILE_STARTS: Rules = {
    SABR: StartRule(_sabr),
    NormalSABR: StartRule(_normal_sabr),
    SVI: StartRule(_svi),
    SSVI: StartRule(_ssvi, _ssvi_ranges, by_quoted_expiry=True),
    SSVIHeston: StartRule(_ssvi_heston, _ssvi_ranges, by_quoted_expiry=True),
}
