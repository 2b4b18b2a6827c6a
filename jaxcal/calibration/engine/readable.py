"""How far the parameters of a fit are from what a person can read: what decides between fits that are as good."""

from typing import Any

import numpy as np
from jaxtyping import Int

from jaxcal.calibration.engine.grid_fit import GridFit

_FAST = 60.0  # mean reversion a year: a variance that forgets itself within six days is like jumps


def num_unreadable(found: GridFit[Any]) -> Int[np.ndarray, "*b"]:
    """How many parameters are at a bound, and how many speeds of mean reversion (`kappa`, `kappa_1`) are beyond what
    expiries of weeks and more can tell from jumps.
    """
    count = np.sum(np.asarray(found.at_bound), axis=-1)
    for name in found.model.bounds:
        if name.partition("_")[0] == "kappa":
            fast = np.asarray(getattr(found.model, name)) > _FAST
            count = count + np.sum(fast.reshape(*count.shape, -1), axis=-1)
    return np.asarray(count)
