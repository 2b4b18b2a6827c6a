"""Forwards: the forward and discount of every expiry, given, from rates, or from put-call parity."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.market.cleaning import Targets
from jaxcal.market.parity import fit_parity
from jaxcal.market.quote_columns import FloatColumn, Mask, QuoteColumns

# A rate from parity outside this band is noise of the quotes, not a rate.
_RATE_BAND = (-0.10, 0.30)
# Rates of two expiries differ by about this much per unit of log time between them.
_RATE_CHANGE = 0.005
_SMALLEST_RATE_ERROR = 1e-6


@dataclass(frozen=True, eq=False)
class ExpiryForwards:
    """Forward and discount of every expiry of every group, sorted by group, then expiry.

    Attributes:
        expiry_of_row: `[n]` position of the row's expiry below; -1 for rows that take no part.
        group: `[s]` index of the group in `QuoteColumns.keys`.
        years: `[s]` time to expiry.
        forward: `[s]` NaN where there is none.
        discount: `[s]`.
        forward_source: `[s]` `"given"`, `"parity"`, `"carry"`, `"spot"` or `""`.
        discount_source: `[s]` `"given"`, `"rate"`, `"parity"`, `"coin"` (it is 1) or `""` (taken as 1).
        forward_error: `[s]` standard error of a forward from parity, else NaN (see `ParityFit`).
        discount_error: `[s]` standard error of a discount from parity, else NaN.
        num_pairs: `[s]` pairs of a call and a put that parity looked at.
    """

    expiry_of_row: NDArray[np.int64]
    group: NDArray[np.int64]
    years: FloatColumn
    forward: FloatColumn
    discount: FloatColumn
    forward_source: NDArray[np.object_]
    discount_source: NDArray[np.object_]
    forward_error: FloatColumn
    discount_error: FloatColumn
    num_pairs: NDArray[np.int64]

    def table(self, columns: QuoteColumns, used: Mask) -> pd.DataFrame:
        """One row an expiry, with the key of its group and the number of its rows that are `used`, `[n]`."""
        keys = [columns.keys[group] for group in self.group]
        return pd.DataFrame(
            {
                "underlying": [key[0] for key in keys],
                "quote_time": [key[1] for key in keys],
                "years": self.years,
                "forward": self.forward,
                "discount": self.discount,
                "forward_source": self.forward_source,
                "discount_source": self.discount_source,
                "forward_error": self.forward_error,
                "discount_error": self.discount_error,
                "num_pairs": self.num_pairs,
                "num_used": np.bincount(self.expiry_of_row[used], minlength=len(self.years)),
            }
        )


def expiry_forwards(columns: QuoteColumns, targets: Targets, *, contracts: Mask, quotes: Mask) -> ExpiryForwards:
    """The forward and discount of every expiry.

    The forward is the first of: the median of the column `forward`; put-call parity; the median of the column
    `carry_forward` (of futures, see `with_carry`); `spot` carried at `rate - dividend_yield` (0 where absent). The
    discount is the first of: the median of the column `discount`; `exp(-rate T)`; put-call parity; 1. Prices in coin
    need no discount.

    Discounts from parity are rates measured with an error that grows as the expiry gets short, so the rate of an
    expiry is averaged over the expiries of its group, each weighted by its own error and its distance in log time;
    the forward is then fitted again with that discount.

    Args:
        columns: of the table.
        targets: the value of each row.
        contracts: `[n]` rows whose contract is good: they define the expiries and the given carry.
        quotes: `[n]` rows whose price is good: they enter put-call parity.

    Returns:
        One record an expiry. It does not depend on the order of the rows.
    """
    expiry_of_row = np.full(len(contracts), -1)
    code = _codes(columns.group[contracts], columns.years[contracts])
    _, first, expiry_of_row[contracts] = np.unique(code, return_index=True, return_inverse=True)
    group, years = columns.group[contracts][first], columns.years[contracts][first]
    carry = given_carry(columns, expiry_of_row, len(years))
    in_coin = np.zeros(len(years), bool)
    in_coin[expiry_of_row[contracts & columns.in_coin]] = True
    # Should one expiry have prices in both units, those in coin are the ones to pair.
    pairable = contracts & quotes
    pairable[contracts] &= columns.in_coin[contracts] == in_coin[expiry_of_row[contracts]]
    pairs = _pairs(columns, targets, expiry_of_row, pairable, len(years))

    discount = np.where(np.isnan(carry["discount"]), np.exp(-carry["rate"] * years), carry["discount"])
    discount_source = np.where(np.isnan(carry["discount"]), "rate", "given").astype(object)
    discount[in_coin], discount_source[in_coin] = 1.0, "coin"
    forward, forward_error, discount_error = (
        carry["forward"].copy(),
        np.full_like(years, np.nan),
        np.full_like(years, np.nan),
    )
    num_pairs = np.zeros(len(years), int)

    needs_discount = np.isnan(discount)
    rates, errors = np.full_like(years, np.nan), np.full_like(years, np.nan)
    for s in np.flatnonzero(needs_discount):
        if (fit := fit_parity(*pairs[s])).discount > 0.0 and fit.discount_error > 0.0:
            rates[s], errors[s] = -np.log(fit.discount) / years[s], fit.discount_error / (fit.discount * years[s])
            num_pairs[s] = fit.num_pairs
    rates, errors = _smooth_rates(group, years, rates, errors)
    found = needs_discount & ~np.isnan(rates)
    discount[found], discount_source[found] = np.exp(-rates * years)[found], "parity"
    discount_error[found] = (errors * years * discount)[found]
    unknown = np.isnan(discount)
    discount[unknown], discount_source[unknown] = 1.0, ""

    forward_source = np.where(np.isnan(forward), "", "given").astype(object)
    for s in np.flatnonzero(np.isnan(forward)):
        fit = fit_parity(*pairs[s], discount=float(discount[s]), in_coin=bool(in_coin[s]))
        num_pairs[s] = fit.num_pairs
        if fit.forward > 0.0:
            forward[s], forward_error[s], forward_source[s] = fit.forward, fit.forward_error, "parity"
    from_futures = np.isnan(forward) & (carry["carry_forward"] > 0.0)
    forward[from_futures], forward_source[from_futures] = carry["carry_forward"][from_futures], "carry"
    rate = np.where(np.isnan(carry["rate"]), -np.log(discount) / years, carry["rate"])
    carried = carry["spot"] * np.exp((rate - np.nan_to_num(carry["dividend_yield"])) * years)
    from_spot = np.isnan(forward) & ~np.isnan(carried)
    forward[from_spot], forward_source[from_spot] = carried[from_spot], "spot"
    return ExpiryForwards(
        expiry_of_row, group, years, forward, discount, forward_source, discount_source,
        forward_error, discount_error, num_pairs,
    )  # fmt: skip


def _codes(group: NDArray[np.int64], years: FloatColumn) -> NDArray[np.int64]:
    times, code = np.unique(years, return_inverse=True)
    return group * len(times) + code


def given_carry(columns: QuoteColumns, expiry_of_row: NDArray[np.int64], size: int) -> dict[str, FloatColumn]:
    """Median over each expiry of what the table gives: a polled forward drifts while the poll lasts.

    Args:
        columns: of the table.
        expiry_of_row: `[n]` as in `ExpiryForwards`.
        size: number of expiries.

    Returns:
        `[size]` each of `forward`, `carry_forward`, `discount`, `rate`, `spot`, `dividend_yield`; NaN where not given.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from jaxcal.market.quote_columns import validate_quotes
        >>> columns = validate_quotes(pd.DataFrame({"expiry": 0.5, "strike": [90.0, 110.0], "iv": 0.2, "rate": 0.04}))
        >>> print(given_carry(columns, np.zeros(2, int), 1)["rate"])
        [0.04]
    """
    names = ["forward", "carry_forward", "discount", "rate", "spot", "dividend_yield"]
    rows = expiry_of_row >= 0
    frame = pd.DataFrame({name: getattr(columns, name)[rows] for name in names})
    medians = frame.groupby(expiry_of_row[rows]).median().reindex(range(size))
    return {name: medians[name].to_numpy(float, copy=True) for name in names}


def _pairs(
    columns: QuoteColumns, targets: Targets, expiry_of_row: NDArray[np.int64], quotes: Mask, size: int
) -> list[tuple[FloatColumn, FloatColumn, FloatColumn, FloatColumn]]:
    """For every expiry: strikes, calls, puts and spreads of the pairs; only two-sided ones where there are any."""
    rows = np.flatnonzero(quotes & ~np.isnan(targets.price) & (columns.side != 0))
    frame = pd.DataFrame(
        {
            "expiry": expiry_of_row[rows],
            "strike": columns.strike[rows],
            "side": columns.side[rows],
            "price": targets.price[rows],
            "spread": (targets.ask - targets.bid)[rows],
        }
    )
    calls, puts = (frame[frame["side"] == side].drop(columns="side") for side in (1, -1))
    both = calls.merge(puts, on=["expiry", "strike"], suffixes=("", "_put")).sort_values(["expiry", "strike"])
    both["spread"] += both["spread_put"]
    two_sided = both["spread"].notna()
    has_two_sided = both["expiry"].isin(both.loc[two_sided, "expiry"])
    both = both[two_sided | ~has_two_sided]
    bounds = np.searchsorted(both["expiry"].to_numpy(), np.arange(size + 1))
    values = [both[name].to_numpy(float) for name in ("strike", "price", "price_put", "spread")]
    return [
        (values[0][a:b], values[1][a:b], values[2][a:b], values[3][a:b]) for a, b in itertools.pairwise(bounds.tolist())
    ]


def _smooth_rates(
    group: NDArray[np.int64], years: FloatColumn, rates: FloatColumn, errors: FloatColumn
) -> tuple[FloatColumn, FloatColumn]:
    """Average the measured rates of each group, weighted by error and by distance in log time."""
    smooth, smooth_error = np.full_like(rates, np.nan), np.full_like(rates, np.nan)
    for g in np.unique(group):
        here = np.flatnonzero(group == g)
        known = here[~np.isnan(rates[here])]
        if not known.size:
            continue
        distance = np.log(years[here][:, None] / years[known])
        variance = np.maximum(errors[known], _SMALLEST_RATE_ERROR) ** 2 + (_RATE_CHANGE * distance) ** 2
        weight = 1.0 / variance
        smooth[here] = weight @ np.clip(rates[known], *_RATE_BAND) / weight.sum(1)
        smooth_error[here] = 1.0 / np.sqrt(weight.sum(1))
    return smooth, smooth_error
