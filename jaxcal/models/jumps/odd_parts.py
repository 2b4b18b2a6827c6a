"""Odd parts of a model with jumps, in words: parts that quotes know less about than their numbers seem to say."""

from typing import Any

import numpy as np

from jaxcal.models.interval import Interval

_MANY, _SMALL = 50.0, 0.05  # jumps a year, and root mean square size: more and smaller ones are a diffusion
_RARE = 0.02  # jumps a year: fewer are one in more than 50 years
_AT_BOUND = 0.98  # of the largest mean reversion


def odd_jumps(intensity: Any, mean_square: Any, year: str = "year") -> tuple[str, ...]:
    """Sentences about kinds of jumps: so many a year, with this mean square of the log price; numbers, or `[n]` each.
    A kind that never jumps is none.

    Example:
        >>> odd_jumps(140.0, 0.02**2)
        ('140 jumps a year of size 2 % act as a volatility of 24 %: only intensity x mean square is known',)
        >>> odd_jumps(0.5, 0.1**2)
        ()
    """
    found = []
    for many, square in zip(*(x.ravel().tolist() for x in np.broadcast_arrays(intensity, mean_square)), strict=True):
        size = f"{many:.3g} jumps a {year} of size {100.0 * square**0.5:.2g} %"
        if many >= _MANY and square <= _SMALL**2:
            vol = f"{100.0 * (many * square) ** 0.5:.2g} %"
            found.append(f"{size} act as a volatility of {vol}: only intensity x mean square is known")
        elif 0.0 < many <= _RARE:
            found.append(f"{size}: one in {1.0 / many:.0f} years, of which quotes know the cost alone")
    return tuple(dict.fromkeys(found))


def odd_reversion(kappa: Any, interval: Interval, year: str = "year") -> tuple[str, ...]:
    """A sentence where a variance reverts as fast as the bounds let it.

    Example:
        >>> odd_reversion([2.0, 300.0], Interval(1e-3, 300.0, "log"))
        ('kappa 300 is at its bound: a variance that forgets itself within 1.2 days is like jumps',)
    """
    fastest = float(np.max(np.asarray(kappa)))
    if not fastest >= _AT_BOUND * interval.upper:
        return ()
    days = f"{365.0 / fastest:.2g} days" + year.removeprefix("year")
    return (f"kappa {fastest:.4g} is at its bound: a variance that forgets itself within {days} is like jumps",)
