"""The DAX surface of 5 July 2002, a table on which Heston calibrations are compared."""

import io
from importlib import resources
from typing import Literal

import numpy as np
import pandas as pd

_SPOT = 4468.17
_OVERNIGHT_RATE = 0.0357  # of the QuantLib convention only


def dax_quotes(convention: Literal["actual", "quantlib"] = "actual") -> pd.DataFrame:
    """104 implied volatilities of DAX options on 5 July 2002: 8 expiries of 13 to 703 days, 13 strikes each.

    Args:
        convention: how calendar days become years and a forward.
            "actual": `days / 365`, the zero rate printed for the expiry, and `forward = spot * exp(rate * years)`
            (the DAX is a total-return index, so it carries no dividends).
            "quantlib": as in QuantLib's calibration test on this table, to compare with figures computed there.
            Maturities are rounded to whole weeks, `(days + 3) // 7 * 7 / 365`, and the zero rate is interpolated
            linearly at the rounded day, from 3.57 % at day 0 through the printed rates at the printed days.

    Returns:
        The tidy quote table, one row a quote, sorted by expiry, then strike: `underlying` ("DAX"), `quote_time` (the
        date, at midnight UTC; the paper gives no time of day), `expiry` (years), `strike`, `iv` (Black volatility,
        decimal), `spot`, `forward`, `rate` (continuously compounded, decimal).

    Raises:
        ValueError: the convention has another name.

    References:
        A. Sepp, "Pricing European-Style Options under Jump Diffusion Processes with Stochastic Volatility:
        Applications of Fourier Transform", working paper, 7 September 2003 (ssrn.com/abstract=1412333). The QuantLib
        convention: `test-suite/hestonmodel.cpp` there.

    Example:
        >>> from jaxcal.published import dax_quotes
        >>> dax_quotes()[["expiry", "strike", "iv", "forward"]].iloc[[0, 103]].round(6)
               expiry  strike      iv      forward
        0    0.035616  3400.0  0.6625  4473.854922
        103  1.926027  5600.0  0.2320  4826.939522
    """
    if convention not in ("actual", "quantlib"):
        raise ValueError(f"convention {convention!r} must be 'actual' or 'quantlib'")
    text = resources.files("jaxcal.published").joinpath("dax_2002-07-05.csv").read_text(encoding="utf-8")
    table = pd.read_csv(io.StringIO(text), comment="#")
    days, rate = table.pop("days").to_numpy(np.float64), table.pop("rate").to_numpy(np.float64)
    if convention == "quantlib":
        whole_weeks = (days + 3) // 7 * 7
        rate = np.interp(whole_weeks, np.append(0.0, days), np.append(_OVERNIGHT_RATE, rate))
        days = whole_weeks
    years = days / 365.0
    strikes = table.columns.to_numpy(np.float64)

    def of_quotes(per_expiry: np.ndarray) -> np.ndarray:
        return np.repeat(per_expiry, strikes.size)

    return pd.DataFrame(
        {
            "underlying": "DAX",
            "quote_time": pd.Timestamp("2002-07-05", tz="UTC"),
            "expiry": of_quotes(years),
            "strike": np.tile(strikes, years.size),
            "iv": table.to_numpy(np.float64).ravel(),
            "spot": _SPOT,
            "forward": of_quotes(_SPOT * np.exp(rate * years)),
            "rate": of_quotes(rate),
        }
    )
