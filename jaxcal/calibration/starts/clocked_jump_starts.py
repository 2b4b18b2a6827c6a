"""Where fits of `ClockedHestonJumps` start: the fitted `ClockedDoubleHeston`, a third fast factor, and jumps."""

from typing import Any

from jaxcal.calibration.starts.heston_starts import heston_ranges, heston_values, on_a_clock
from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.calibration.starts.start_rule import Ranges, Rules, StartRule, Values, read_parameters
from jaxcal.models.diffusions.clocked_double_heston import ClockedDoubleHeston
from jaxcal.models.diffusions.heston import Heston
from jaxcal.models.jumps.clocked_heston_jumps import ClockedHestonJumps

# Intensity a calendar year, mean and standard deviation in levels of volatility; and the third factor beside them:
# v0 and theta in units of the variance of the others, kappa, sigma in levels of volatility, rho.
_DAY, _DAYS = (0.2, 800.0, 0.3, 30.0, -0.3), (0.2, 200.0, 0.3, 15.0, -0.3)
_STARTS = (
    ((0.1, -1.0, 1.5), _DAY), ((2.0, -0.1, 0.2), _DAY), ((20.0, 0.0, 0.05), _DAYS), ((400.0, 0.0, 0.03), _DAYS)
)  # fmt: skip
_THETA = (2e-6, 20.0)  # between which a factor says something by itself, and not by kappa theta alone


def _with_jumps_and_a_factor(shape: SmileShape, two: Values) -> list[Values]:
    """From parameters of `ClockedDoubleHeston`, which may have another leading axis of surfaces."""
    xp, level = shape.xp, shape.level
    rate = _mean_rate(xp, two["knots"], two["pace"])
    theta = [xp.clip(two[f"theta_{i}"], *_THETA) for i in (1, 2)]
    # a slow factor that grows for ever says kappa theta: as well with a level that it could reach
    kappa = [two[f"kappa_{i}"] * two[f"theta_{i}"] / each for i, each in enumerate(theta, 1)]
    variance = two["v0_1"] + two["v0_2"]
    found = []
    for (intensity, mean, std), (v0, fast, long, sigma, rho) in _STARTS:
        third = {"v0": v0 * variance, "kappa": fast, "theta": long * variance, "sigma": sigma * level, "rho": rho}
        others = {"kappa": kappa, "theta": theta} | {
            n: [two[f"{n}_{i}"] for i in (1, 2)] for n in ("v0", "sigma", "rho")
        }
        factors = {name: _vector(xp, level, *others[name], third[name]) for name in Heston.bounds}
        jumps = {"jump_intensity": intensity / rate, "jump_mean": mean * level, "jump_std": std * level}
        kinds = {name: _vector(xp, level, value) for name, value in jumps.items()}
        found.append(factors | kinds | {"pace": two["pace"], "knots": two["knots"]})
    return found


def _vector(xp: Any, level: Any, *values: Any) -> Any:
    """The numbers of several parts as one vector of each surface."""
    return xp.stack([xp.broadcast_to(xp.asarray(value, level.dtype), level.shape) for value in values], axis=-1)


def _mean_rate(xp: Any, knots: Any, pace: Any) -> Any:
    """Years of the clock in a year, up to the last knot."""
    if not knots.shape[-1]:
        return 1.0
    lengths = xp.diff(knots, axis=-1)
    return (knots[..., 0] + xp.sum(lengths * pace[..., :-1], axis=-1)) / knots[..., -1]


def _read(shape: SmileShape) -> list[Values]:
    return [
        found
        for two in on_a_clock(shape, heston_values(shape)[0])[:1]
        for found in _with_jumps_and_a_factor(shape, two)
    ]


def _extend(shape: SmileShape, two: ClockedDoubleHeston) -> list[Values]:
    return _with_jumps_and_a_factor(shape, read_parameters(two) | {"knots": two.knots})


def _ranges(level: float) -> Ranges:
    usual = heston_ranges(level)
    wide = {"kappa": (0.03, 2000.0), "theta": (0.1 * level**2, 10.0), "sigma": (0.1, 100.0)}
    sizes = {"jump_mean": (-2.0 * level, level), "jump_std": (0.02 * level, 2.0 * level)}
    return usual | wide | {"jump_intensity": (0.02, 500.0), **sizes, "pace": (0.1, 3.0)}


CLOCKED_JUMP_STARTS: Rules = {
    ClockedHestonJumps: StartRule(_read, _ranges, ClockedDoubleHeston, _extend, num_knots=11, sifted=True, rounds=5),
}
