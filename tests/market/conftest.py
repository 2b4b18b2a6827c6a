"""A chain whose answers are known: option prices of a given smile, written with scipy, not with the library."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr


def black(vol, strike, years, forward, is_call):
    """Undiscounted Black-76 price."""
    deviation = vol * np.sqrt(years)
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    sign = np.where(is_call, 1.0, -1.0)
    return sign * (forward * ndtr(sign * d1) - strike * ndtr(sign * (d1 - deviation)))


def smile(strike, years, forward):
    return 0.2 - 0.1 * np.log(strike / forward) / np.sqrt(years)


@pytest.fixture(scope="session")
def make_chain() -> Callable[..., pd.DataFrame]:
    """A tidy table of calls and puts with bid and ask, at a known forward, rate and smile (column `true_vol`)."""

    def make(
        expiries=(0.1, 0.5, 1.0),
        strikes=tuple(np.linspace(80.0, 125.0, 10)),
        *,
        spot=100.0,
        rate=0.03,
        dividend_yield=0.01,
        half_spread=0.02,
    ) -> pd.DataFrame:
        years, strike, side = (x.ravel() for x in np.meshgrid(expiries, strikes, [1, -1], indexing="ij"))
        forward = spot * np.exp((rate - dividend_yield) * years)
        vol = smile(strike, years, forward)
        mid = np.exp(-rate * years) * black(vol, strike, years, forward, side == 1)
        half = np.minimum(half_spread, 0.2 * mid)
        return pd.DataFrame(
            {
                "expiry": years,
                "strike": strike,
                "option_type": np.where(side == 1, "C", "P"),
                "bid": mid - half,
                "ask": mid + half,
                "true_vol": vol,
                "true_forward": forward,
                "true_discount": np.exp(-rate * years),
            }
        )

    return make
