"""The table of a chain by expiry: what was used, how well it is fitted, and the smile at the money."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxcal._status import Outcome
from jaxcal.calibration.comparison import fitted_places
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.goodness_of_fit import GoodnessOfFit
from jaxcal.calibration.results.unfitted import is_unfitted
from jaxcal.formulas.implied_vol import implied_vol
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.tables.verdict import Verdict
from jaxcal.models.base import AbstractVolModel
from jaxcal.pricing.vanilla import price

COLUMNS = (
    "expiry", "expires", "forward", "discount", "used", "left_out", "inside", "rmse_half_spreads", "rmse_points",
    "atm_vol", "atm_skew", "status",
)  # fmt: skip
_NUM_STRIKES = 81  # as many as `model_arbitrage` prices, whose program this one is then
_WIDTH = 4.0  # standard deviations on either side, likewise


def expiry_table(fit: Fit[Any], report: QuoteReport | None) -> pd.DataFrame:
    """One row an expiry, those without a used quote included; see `ChainFit.by_expiry`.

    Args:
        fit: to the quotes of the chain.
        report: of that one surface, if its quotes were cleaned.
    """
    surface = fit.surface
    quoted = np.flatnonzero((np.asarray(surface.weight) > 0).any(axis=-1))
    fitted = fitted_places(fit)
    smiles = at_the_money(fit, quoted)
    rows = []
    for i, (vol, skew) in zip(quoted, smiles, strict=True):
        used = (np.asarray(surface.weight) > 0) & (np.arange(len(surface.weight)) == i)[:, None]
        good = GoodnessOfFit.of(np.asarray(fit.model_vol), surface, used)
        row = {
            "expiry": float(surface.expiry[i]), "forward": float(surface.forward[i]),
            "discount": float(surface.discount[i]), "used": int(used.sum()), "left_out": 0,
            "inside": good.inside, "rmse_half_spreads": good.rmse_half_spreads, "rmse_points": 100.0 * good.rmse_vol,
            "atm_vol": vol, "atm_skew": skew, "status": _status(fit, int(i), bool(fitted[i].any())),
        }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(_with_left_out(rows, report), columns=list(COLUMNS))


def _status(fit: Fit[Any], expiry: int, fitted: bool) -> str:
    outcome = Outcome(int(np.asarray(fit.outcome)[expiry] if fit.by_expiry else fit.outcome))
    if outcome is Outcome.CONVERGED:
        return "fitted"
    return outcome.sentence if not fitted else f"fitted. {outcome.sentence}"


def _with_left_out(rows: list[dict[str, Any]], report: QuoteReport | None) -> list[dict[str, Any]]:
    """With what the report says of each expiry: its name in the table, and the rows that were left out."""
    if report is None:
        return [row | {"expires": None} for row in rows]
    table = report.table
    column = "clock_years" if "clock_years" in table else "years"
    years = table[column].to_numpy(float)
    is_used = table["verdict"].eq(str(Verdict.USED)).to_numpy(bool)
    found = {}
    for row in rows:
        mine = np.isclose(years, row["expiry"], rtol=1e-6, atol=0.0)
        found[row["expiry"]] = row | {
            "expires": _name(table, mine),
            "left_out": int((mine & ~is_used).sum()),
        }
    known = np.array(list(found))
    rest = np.isfinite(years) & ~is_used
    rest &= ~np.isclose(years[:, None], known[None, :], rtol=1e-6, atol=0.0).any(axis=1)
    for time in np.unique(years[rest]):
        mine = rest & (years == time)
        reasons = Counter(table["verdict"][mine].astype(str)).most_common()
        said = ", ".join(f"{count} {reason}" for reason, count in reasons)
        forward = pd.to_numeric(table["forward"], errors="coerce")[mine].iloc[0]
        found[time] = dict.fromkeys(COLUMNS, np.nan) | {
            "expiry": float(time), "expires": _name(table, mine), "forward": float(forward), "used": 0,
            "left_out": int(mine.sum()), "status": f"no quote used: {said}",
        }  # fmt: skip
    return [found[time] for time in sorted(found)]


def _name(table: pd.DataFrame, rows: np.ndarray) -> str | None:
    """The expiry as the table has it; None where that is the number of years."""
    if "expiry" not in table or not rows.any():
        return None
    value = table["expiry"][rows].iloc[0]
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value if isinstance(value, str) else None


def at_the_money(fit: Fit[Any], quoted: np.ndarray) -> list[tuple[float, float]]:
    """Volatility at the forward, and its slope in log-strike there, of the model at some expiries of its surface; NaN
    where it has none.
    """
    if not quoted.size:
        return []
    surface, model = fit.surface, fit.model
    years, forward = (np.asarray(x)[quoted, None] for x in (surface.expiry, surface.forward))
    used = np.asarray(surface.weight)[quoted] > 0
    width = np.where(used, np.asarray(surface.vol)[quoted], 0.0).max(axis=-1, keepdims=True) * np.sqrt(years)
    k = _WIDTH * width * np.linspace(-1.0, 1.0, _NUM_STRIKES)
    k, T, F = (jnp.asarray(np.broadcast_to(x, k.shape), surface.vol.dtype) for x in (k, years, forward))
    strike = F * jnp.exp(k)
    known = ~is_unfitted(fit.outcome)
    if isinstance(model, AbstractVolModel) and model.per_expiry:
        slices = jax.tree.map(lambda leaf: jnp.asarray(leaf)[quoted, None], model)
        vol: Float[np.ndarray, "e k"] = np.array(slices.vol(strike, T, F), np.float64)
        vol[~known[quoted]] = np.nan
    elif known.all():
        value = price(model, strike, T, forward=F, is_call=k >= 0.0) / F
        vol = np.array(implied_vol(value, strike / F, T, forward=1.0, is_call=k >= 0.0), np.float64)
    else:
        vol = np.full(strike.shape, np.nan)
    middle = _NUM_STRIKES // 2
    step = np.asarray(k, np.float64)[:, middle + 1]
    slope = (vol[:, middle + 1] - vol[:, middle - 1]) / (2.0 * step)
    return list(zip(vol[:, middle].tolist(), slope.tolist(), strict=True))
