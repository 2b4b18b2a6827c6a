"""TakerFee: what a venue charges for taking a quote."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class TakerFee:
    """The fee of one option contract: a share of the underlying, but no more than a share of the option's price.

    Attributes:
        rate: share of the underlying's price; 0.0003 is 0.03 %.
        cap: largest share of the option's price.

    Raises:
        ValueError: one of them is negative or not finite, or the cap is 1 or more: then a bid would be worth nothing.

    Example:
        >>> from jaxcal.market.taker_fee import TakerFee
        >>> print(TakerFee.deribit().of(np.array([0.0008, 0.05]), 1.0))
        [0.0001 0.0003]
    """

    rate: float = 0.0
    cap: float = 0.125

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0.0 <= self.rate < np.inf:
            raise ValueError(f"the rate of a fee is {self.rate}: it must be finite and not negative")
        if not 0.0 <= self.cap < 1.0:
            raise ValueError(f"the cap of a fee is {self.cap}: it must be at least 0 and below 1")

    @classmethod
    def deribit(cls) -> "TakerFee":
        """Deribit's for options: 0.03 % of the underlying, at most 12.5 % of the option's price.

        Example:
            >>> TakerFee.deribit()
            TakerFee(rate=0.0003, cap=0.125)
        """
        return cls(0.0003, 0.125)

    def of(self, price: Numbers, underlying: Numbers | float) -> Numbers:
        """The fee for options of these prices.

        Args:
            price: `[n]` in the option's unit.
            underlying: the underlying's price in the same unit: 1 where options are priced in the coin.
        """
        return np.minimum(self.rate * underlying, self.cap * price)
