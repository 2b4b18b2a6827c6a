"""find_percent: volatilities in percent beside decimal ones."""

import numpy as np
import pandas as pd

from jaxcal._types import FloatColumn, Mask
from jaxcal.market.tables.quote_columns import PERCENT_VOL, QuoteColumns

_NEIGHBOURS = 8  # nearest strikes that a volatility is compared with
_RATIO, _LOW_RATIO = 10.0, 30.0  # to its neighbours' median: above `PERCENT_VOL`, and below it


def find_percent(columns: QuoteColumns, vol: FloatColumn, priced: Mask) -> tuple[Mask, FloatColumn]:
    """The rows whose volatility is in percent where their neighbours' are decimals.

    A volatility above 500 % is one where the nearest strikes of its expiry, or the least of a whole expiry beside the
    others, say so; a wing of two days is as high as that by right. Beside prices of the same surface it is one anyhow.

    Args:
        columns: of the table.
        vol: `[n]` volatilities, NaN where the row has none.
        priced: `[n]` rows with a price instead.

    Returns:
        percent: `[n]`.
        usual: `[n]` what the row was compared with, for these rows; NaN where there was nothing, and elsewhere.

    Example:
        >>> from jaxcal.market.tables.quote_columns import validate_quotes
        >>> table = pd.DataFrame({"expiry": 0.01, "strike": [90, 95, 100, 105, 110], "iv": [6.1, 4.0, 2.5, 1.2, 5.2]})
        >>> print(find_percent(validate_quotes(table), table["iv"].to_numpy(), np.zeros(5, bool))[0])
        [False False False False False]
        >>> table["iv"] = [0.3, 22.5, 0.24, 0.23, 0.24]
        >>> print(find_percent(validate_quotes(table), table["iv"].to_numpy(), np.zeros(5, bool))[0])
        [False  True False False False]
    """
    percent, usual = np.zeros(len(vol), bool), np.full(len(vol), np.nan)
    rows = np.flatnonzero((vol > 0.0) & np.isfinite(vol))
    if not rows.size:
        return percent, usual
    frame = pd.DataFrame({"group": columns.group[rows], "years": columns.years[rows], "vol": vol[rows]})
    by_expiry = frame.groupby(["group", "years"])["vol"]
    candidates = (frame["vol"] > PERCENT_VOL) | (frame["vol"] > _LOW_RATIO * by_expiry.transform("median"))
    if not candidates.any():
        return percent, usual
    low, beside_prices = by_expiry.quantile(0.1), np.unique(columns.group[priced])
    for place in np.flatnonzero(candidates).tolist():
        row, (group, years, value) = rows[place], frame.iloc[place]
        if value > PERCENT_VOL and group in beside_prices:
            percent[row] = True
            continue
        same = rows[(frame["group"] == group).to_numpy() & (frame["years"] == years).to_numpy()]
        others = same[same != row]
        beside = low[low.index.get_level_values(0) == group].drop((group, years), errors="ignore")
        found = np.nan
        if others.size:
            distance = np.abs(np.log(np.maximum(columns.strike[others], 1e-300) / max(columns.strike[row], 1e-300)))
            found = float(np.median(vol[others[np.argsort(distance, kind="stable")[:_NEIGHBOURS]]]))
        if beside.size and not value > _RATIO * found:  # its neighbours are like it: the whole expiry may be in percent
            level, least = float(beside.median()), float(low[(group, years)])
            if least > _RATIO * level and least > PERCENT_VOL:
                found = level
        usual[row] = found
        ratio = _RATIO if value > PERCENT_VOL else _LOW_RATIO
        percent[row] = value > PERCENT_VOL if np.isnan(found) else value > ratio * found
    return percent, usual
