"""Where a fit of two Heston factors starts: one slow, one fast, with or without a clock of their own."""

from typing import Any

import numpy as np

from jaxcal.calibration.starts.smile_shape import SmileShape
from jaxcal.models.diffusions.heston import Heston

Values = dict[str, Any]


def two_factors(values: Values) -> list[Values]:
    """Heston's parameters shared between a fast and a slow factor, in three ways.

    Example:
        >>> from jaxcal.calibration.starts.two_factors import two_factors
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
    """A slow and a fast factor on a clock without knots so far: three of this model's own, two of `DoubleHeston`.

    The clock makes up for variances that grow, so a surface may ask for a slow one that does without end: the second.
    """
    level, rho = shape.level, np.clip(values["rho"], -0.9, 0.9)
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
