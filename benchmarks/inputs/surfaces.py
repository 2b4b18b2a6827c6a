"""The two fits every runner does: 120 options with exact Heston volatilities, and the DAX surface of 5 July 2002."""

import numpy as np

from benchmarks.inputs.reference import heston_vols
from benchmarks.inputs.work import Array, Work

DAX_SPOT = 4468.17
# The optimum of the unweighted implied-vol misfit: Gauss-Newton on `heston_vols` with sixth-order differences, until
# the relative step was below 1e-11 (two step sizes agree to 1e-12). Sum of squares: 177.233 squared vol points.
DAX_OPTIMUM = (0.195661264168, 15.6627179932, 0.0745912568991, 3.3619231545, -0.511491003941)
DAX_START = (0.1, 1.0, 0.1, 0.5, -0.5)  # the start of QuantLib's own test on this surface


def synthetic_work() -> Work:
    """8 expiries x 15 strikes, exact Heston volatilities: S 100, r 2 %, `ln(K/F) = x 0.25 sqrt(T)`, x from -3 to 2."""
    days = np.array([7, 14, 30, 61, 91, 182, 365, 730])
    expiry, rate, spot = days / 365.0, 0.02, 100.0
    forward = spot * np.exp(rate * expiry)
    strike = forward[:, None] * np.exp(np.linspace(-3.0, 2.0, 15) * 0.25 * np.sqrt(expiry)[:, None])
    truth = np.array([0.04, 1.5, 0.06, 0.7, -0.65])
    return Work(
        name="120 options",
        spot=spot,
        days=days,
        expiry=expiry,
        zero_rate=np.full_like(expiry, rate),
        forward=forward,
        discount=np.exp(-rate * expiry),
        strike=strike,
        vol=heston_vols(strike, expiry, forward, truth),
        start=np.array([0.09, 3.0, 0.09, 0.4, -0.3]),
        truth=truth,
    )


def dax_work() -> Work:
    """8 expiries x 13 strikes with maturities and forwards by QuantLib's convention for this table."""
    from jaxcal.published import dax_quotes

    quotes = dax_quotes("quantlib").sort_values(["expiry", "strike"])
    expiry = np.unique(quotes["expiry"].to_numpy(np.float64))
    forward = quotes.groupby("expiry")["forward"].first().to_numpy(np.float64)
    zero_rate = np.log(forward / DAX_SPOT) / expiry  # no dividends in this convention
    return Work(
        name="DAX 2002-07-05",
        spot=DAX_SPOT,
        days=np.round(expiry * 365.0).astype(np.int64),
        expiry=expiry,
        zero_rate=zero_rate,
        forward=forward,
        discount=np.exp(-zero_rate * expiry),
        strike=quotes["strike"].to_numpy(np.float64).reshape(expiry.size, -1),
        vol=quotes["iv"].to_numpy(np.float64).reshape(expiry.size, -1),
        start=np.array(DAX_START),
        truth=np.array(DAX_OPTIMUM),
    )


def rmse_vol(work: Work, parameters: Array) -> float:
    """Root mean square of model minus market volatility (decimal), by the reference integral for every runner."""
    model = heston_vols(work.strike, work.expiry, work.forward, np.asarray(parameters, np.float64))
    return float(np.sqrt(np.mean((model - work.vol) ** 2)))


def max_relative_error(work: Work, parameters: Array) -> float:
    """Largest relative distance of a parameter from `work.truth`."""
    return float(np.max(np.abs(np.asarray(parameters, np.float64) / work.truth - 1.0)))
