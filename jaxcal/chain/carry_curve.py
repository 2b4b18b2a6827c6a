"""CarryCurve: forwards and discounts at the quoted expiries of a surface, and between them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxcal._arguments import NumbersLike, numbers
from jaxcal.market.surface import Surface


class CarryCurve(NamedTuple):
    """Forward and discount by expiry: as quoted there, and log-linear in time between two, a constant carry.

    Attributes:
        years: `[s]` to the quoted expiries, rising.
        forward, discount: `[s]` of each.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5, 1.0], [100.0], [[0.2], [0.2]], forward=[100.0, 121.0], discount=0.9)
        >>> forward, discount = CarryCurve.of(surface).at(0.75)
        >>> round(float(forward), 4), round(float(discount), 4)
        (110.0, 0.9)
    """

    years: NDArray[np.float64]
    forward: NDArray[np.float64]
    discount: NDArray[np.float64]

    @classmethod
    def of(cls, surface: Surface) -> "CarryCurve":
        """Of the quoted expiries of a surface."""
        quoted = (np.asarray(surface.weight) > 0.0).any(axis=-1)
        years, forward, discount = (
            np.asarray(x, np.float64)[quoted] for x in (surface.expiry, surface.forward, surface.discount)
        )
        return cls(years, forward, discount)

    def at(self, expiry: NumbersLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Forward and discount at other expiries, `[...]` each.

        Raises:
            ValueError: an expiry is before the first quoted one, or after the last: no quote says its forward.
        """
        years = np.asarray(numbers(expiry=expiry)[0], np.float64)
        first, last = self.years[0], self.years[-1]
        near = 1e-6  # of itself: an expiry in single precision
        outside = ~((years >= first * (1.0 - near)) & (years <= last * (1.0 + near)))
        if outside.any():
            raise ValueError(
                f"expiry {years[outside].ravel()[0]:.6g} is not between the first and the last quoted one, {first:.6g} "
                f"and {last:.6g} years: give jc.price(chain.model, ...) its forward"
            )
        forward, discount = (
            np.asarray(np.exp(np.interp(years, self.years, np.log(x)))) for x in (self.forward, self.discount)
        )
        return forward, discount
