"""Initial guesses for models with jumps: rare large jumps, frequent small ones, on the side of the skew."""

from typing import Any

from jaxcal.calibration.starts.heston_starts import heston_ranges, heston_values, vol_ranges
from jaxcal.calibration.starts.smile_shape import SmileShape, namespace_of
from jaxcal.calibration.starts.start_rule import Ranges, Rules, StartRule, Values, read_parameters
from jaxcal.models.base import AbstractModel
from jaxcal.models.diffusions.heston import Heston
from jaxcal.models.jumps.bates import Bates
from jaxcal.models.jumps.kou import Kou
from jaxcal.models.jumps.merton import Merton
from jaxcal.models.jumps.piecewise_bates import PiecewiseBates
from jaxcal.models.jumps.svcj import SVCJ

# Jumps that a fit starts from: intensity; mean (to the side of the skew) and standard deviation in levels of vol.
# Real surfaces have optima with rare large jumps and others with frequent small ones.
_JUMPS = ((20.0, 0.05, 0.15), (0.3, 1.0, 1.0), (2.0, 0.4, 0.4))
_BUCKETS = 4  # intervals of time where the caller names no knots


def _jumps(shape: SmileShape) -> list[Values]:
    side, level = shape.side, shape.level
    return [
        {"jump_intensity": intensity, "jump_mean": side * mean * level, "jump_std": std * level}
        for intensity, mean, std in _JUMPS
    ]


def _merton(shape: SmileShape) -> list[Values]:
    return [{"sigma": 0.7 * shape.level} | jumps for jumps in _jumps(shape)]


def _kou(shape: SmileShape) -> list[Values]:
    xp, falls, found = shape.xp, shape.side < 0, []
    for intensity, size in ((2.0, 0.4), (20.0, 0.12), (0.3, 1.0)):
        mean = size * shape.level
        up, down = xp.where(falls, 0.6, 1.0) * mean, xp.where(falls, 1.0, 0.6) * mean
        found.append({
            "sigma": 0.7 * shape.level, "jump_intensity": intensity, "p_up": xp.where(falls, 0.35, 0.65),
            "eta_up": xp.maximum(1.0 / up, 1.5), "eta_down": 1.0 / down,
        })  # fmt: skip
    return found


def _bates(shape: SmileShape) -> list[Values]:
    return [values | jumps for values in heston_values(shape) for jumps in _jumps(shape)]


def _bates_from_heston(shape: SmileShape, heston: AbstractModel) -> list[Values]:
    return [read_parameters(heston) | jumps for jumps in _jumps(shape)]


def _svcj(shape: SmileShape) -> list[Values]:
    variance = shape.level**2
    return [values | {"variance_jump_mean": variance, "jump_correlation": 0.0} for values in _bates(shape)]


def _svcj_from_bates(shape: SmileShape, bates: AbstractModel) -> list[Values]:
    """Jumps of the Bates fit and others, with small and large jumps of the variance, and one-sided ones."""
    base, variance = read_parameters(bates), shape.level**2
    small, large = ({"variance_jump_mean": s * variance, "jump_correlation": 0.0} for s in (0.3, 3.0))
    many, rare, _ = (base | jumps for jumps in _jumps(shape))
    upright = [base | small, base | large, many | large, rare | large]
    return [*upright, skewed(base, -0.6, variance), skewed(rare, 0.6, variance)]


def skewed(law: dict[str, Any], share: float, variance: Any) -> dict[str, Any]:
    """Parameters of `SVCJ` with one-sided jumps as large as those of `law`.

    Jumps of the price that are a multiple of the variance's are exponential; `share` of the size of a jump is moved
    into that part, to the side of the mean or, if negative, to the other. `variance` is the level of the surface's.

    Example:
        >>> found = skewed({"jump_mean": -0.3, "jump_std": 0.4}, 0.6, 0.25)
        >>> print(f"{found['jump_correlation'] * found['variance_jump_mean']:.1f}")
        -0.3
    """
    mean, std, least = law["jump_mean"], law["jump_std"], 0.1 * variance
    xp = namespace_of(variance)
    part = xp.minimum(share * xp.sign(mean) * xp.hypot(mean, std), 0.8)
    return law | {
        "jump_mean": mean - part, "jump_std": 0.5 * std,
        "variance_jump_mean": least, "jump_correlation": part / least,
    }  # fmt: skip


def _jump_ranges(level: float) -> Ranges:
    size = {"jump_mean": (-level, 0.6 * level), "jump_std": (0.02 * level, 1.5 * level)}
    return {"jump_intensity": (0.02, 100.0), **size}


def _merton_ranges(level: float) -> Ranges:
    return vol_ranges(level) | _jump_ranges(level)


def _kou_ranges(level: float) -> Ranges:
    sizes = 1.0 / (1.5 * level), 1.0 / (0.02 * level)
    return vol_ranges(level) | {
        "jump_intensity": (0.02, 100.0), "p_up": (0.05, 0.95), "eta_up": sizes, "eta_down": sizes
    }  # fmt: skip


def _bates_ranges(level: float) -> Ranges:
    return heston_ranges(level) | _jump_ranges(level)


def _svcj_ranges(level: float) -> Ranges:
    """The correlation as its bounds count it: times the mean jump of the variance."""
    of_variance = {"variance_jump_mean": (0.05 * level**2, 10.0 * level**2)}
    return _bates_ranges(level) | of_variance | {"jump_correlation": (-level, min(0.5 * level, 0.8))}


JUMP_STARTS: Rules = {
    Merton: StartRule(_merton, _merton_ranges),
    Kou: StartRule(_kou, _kou_ranges),
    Bates: StartRule(_bates, _bates_ranges, Heston, _bates_from_heston),
    PiecewiseBates: StartRule(
        ranges=_bates_ranges, simpler=Bates, piecewise=True, also_from_starts=True, num_knots=_BUCKETS
    ),
    SVCJ: StartRule(_svcj, _svcj_ranges, Bates, _svcj_from_bates),
}
