"""Initial guesses for Levy processes: a few shapes of their law with the level and the skew of the surface."""

import math

from jaxcal.calibration.starts.heston_starts import variance_range, vol_ranges
from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.start_rule import Ranges, Rules, StartRule, Values
from jaxcal.models.levy.cgmy import CGMY
from jaxcal.models.levy.nig import NIG
from jaxcal.models.levy.variance_gamma import VarianceGamma


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
        g = shape.xp.where(shape.side < 0, 0.7, 1.4) * per_level / shape.level
        m = shape.xp.where(shape.side < 0, 1.4, 0.7) * per_level / shape.level + 1.0
        variance = math.gamma(2.0 - y) * (g ** (y - 2.0) + m ** (y - 2.0))
        found.append({"c": shape.level**2 / variance, "g": g, "m": m, "y": y})
    return found


def _variance_gamma_ranges(level: float) -> Ranges:
    return vol_ranges(level) | {"nu": (0.003, 3.0), "theta": (-level, 0.6 * level)}


def _nig_ranges(level: float) -> Ranges:
    return {"beta": (-8.0 / level - 0.5, 8.0 / level - 0.5), "alpha": (1.05, 50.0), "delta": variance_range(level)}


def _cgmy_ranges(level: float) -> Ranges:
    tempering = 0.5 / level, 20.0 / level
    return {"g": tempering, "m": tempering, "y": (-1.0, 1.9), "c": variance_range(level)}


LEVY_STARTS: Rules = {
    VarianceGamma: StartRule(_variance_gamma, _variance_gamma_ranges),
    NIG: StartRule(_nig, _nig_ranges),
    CGMY: StartRule(_cgmy, _cgmy_ranges),
}
