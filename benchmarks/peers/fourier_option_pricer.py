"""fourier-option-pricer: `foureng.calibrate`, COS with analytic gradients under scipy's trust-region reflective method.

It minimises price errors divided by the market vega, so on quotes that Heston cannot match it ends at another optimum.
The library takes one flat rate: strikes are given in units of the forward with rate 0, which leaves volatilities and
its residuals as they are.
"""

import numpy as np
from foureng import calibrate
from foureng.models.heston import HestonParams
from foureng.surface.model_calibration import MarketQuotes

from benchmarks.inputs.work import Work
from benchmarks.peers import Fit, Outcome


def prepare(work: Work) -> Fit:
    """One fit with the library's default bounds, gradient and tolerances."""
    quotes = MarketQuotes(
        S0=1.0,
        r=0.0,
        q=0.0,
        maturities=np.repeat(work.expiry, work.strike.shape[1]),
        strikes=(work.strike / work.forward[:, None]).ravel(),
        ivs=work.vol.ravel(),
    )
    v0, kappa, theta, sigma, rho = work.start.tolist()
    start = HestonParams(kappa=kappa, theta=theta, nu=sigma, rho=rho, v0=v0)

    def fit() -> Outcome:
        result = calibrate("heston", quotes, start)
        found = np.array([result.values[name] for name in ("v0", "kappa", "theta", "nu", "rho")])
        return Outcome(found, result.nfev, "evaluations")

    return fit
