"""far_expiry: an expiry whose variance says that it is much nearer than its number of years."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LONG = 5.0  # years from which on an expiry is doubted ...
_LONGER, _LESS = 5.0, 0.75  # ... where one that many times nearer has more variance: this share of it is too little


def far_expiry(years: NDArray[np.floating[Any]], vol: NDArray[np.floating[Any]]) -> str | None:
    """A sentence on the first expiry that has less variance than a much nearer one; None where there is none.

    Days among years, and dates that stand for none (2099-12-31), have the variance of a near expiry.

    Args:
        years: `[s]` to the expiries of a surface.
        vol: `[s]` volatility at the money, decimal; NaN where there is none.

    Example:
        >>> print(far_expiry(np.array([0.5, 30.0]), np.array([0.2, 0.013])))
        the expiry of 30 years has a volatility of 0.013 at the money, where that of 0.5 years has 0.2: ...
        >>> far_expiry(np.array([0.5, 30.0]), np.array([0.2, 0.1]))
    """
    variance = vol**2 * years
    for far in np.flatnonzero((years > _LONG) & np.isfinite(variance)).tolist():
        near = np.flatnonzero((years < years[far] / _LONGER) & (variance[far] < _LESS * variance))
        if near.size:
            nearest = near[np.argmax(variance[near])]
            return (
                f"the expiry of {years[far]:.4g} years has a volatility of {vol[far]:.2g} at the money, where that of "
                f"{years[nearest]:.4g} years has {vol[nearest]:.2g}: is it in days among years, or a date that stands "
                "for none? Give it in years, or leave these rows out"
            )
    return None
