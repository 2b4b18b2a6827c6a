"""What both QuantLib runners share: curves, model and calibration helpers, all built before the clock starts."""

from collections.abc import Callable

import numpy as np
import QuantLib as ql

from benchmarks.inputs.work import Work
from benchmarks.peers import Fit, Outcome


def prepare_with(work: Work, engine: Callable[[ql.HestonModel], ql.PricingEngine]) -> Fit:
    """Build the helpers once; a fit sets the model back to the start and calls `calibrate`.

    The tolerances are those of QuantLib's DAX test (1e-8 throughout). Maturities are whole days under
    Actual/365 (Fixed), so QuantLib sees the same year fractions as everybody.
    """
    today = ql.Date(5, 7, 2002)
    ql.Settings.instance().evaluationDate = today
    counter, calendar = ql.Actual365Fixed(), ql.NullCalendar()
    dates = [today] + [today + int(d) for d in work.days]
    zero = ql.ZeroCurve(dates, [float(work.zero_rate[0]), *work.zero_rate.tolist()], counter, calendar)
    rates = ql.YieldTermStructureHandle(zero)
    dividends = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, counter))
    spot = ql.QuoteHandle(ql.SimpleQuote(work.spot))
    v0, kappa, theta, sigma, rho = work.start.tolist()
    model = ql.HestonModel(ql.HestonProcess(rates, dividends, spot, v0, kappa, theta, sigma, rho))
    pricing = engine(model)
    helpers = []
    for days, strikes, vols in zip(work.days.tolist(), work.strike.tolist(), work.vol.tolist(), strict=True):
        for strike, vol in zip(strikes, vols, strict=True):
            helper = ql.HestonModelHelper(
                ql.Period(days, ql.Days),
                calendar,
                work.spot,
                strike,
                ql.QuoteHandle(ql.SimpleQuote(vol)),
                rates,
                dividends,
                ql.BlackCalibrationHelper.ImpliedVolError,
            )
            helper.setPricingEngine(pricing)
            helpers.append(helper)
    start = ql.Array([theta, kappa, sigma, rho, v0])  # the order of HestonModel.params

    def fit() -> Outcome:
        model.setParams(start)
        solver = ql.LevenbergMarquardt(1e-8, 1e-8, 1e-8)
        model.calibrate(helpers, solver, ql.EndCriteria(400, 40, 1e-8, 1e-8, 1e-8))
        found = np.array([model.v0(), model.kappa(), model.theta(), model.sigma(), model.rho()])
        return Outcome(found, int(model.functionEvaluation()), "evaluations")

    return fit
