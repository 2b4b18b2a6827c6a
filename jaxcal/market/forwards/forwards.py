"""Forwards: the forward and discount of every expiry, given, from rates, or from put-call parity."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal._types import FloatColumn, Mask
from jaxcal.market.forwards.put_call_parity import fit_parity
from jaxcal.market.tables.quote_columns import QuoteColumns
from jaxcal.market.tables.quote_values import Targets

# A rate from parity outside this band is no rate: the prices or the strikes are in other units, or the pairs are not
# pairs. So it is called where the discount is beyond the band by so many standard errors (which are too small by about
# three on recorded chains), and by so much: over a day no rate can be told, and none matters.
_RATE_BAND = (-0.10, 0.30)
_BEYOND_ERRORS, _BEYOND = 6.0, 0.02
# Before a quote is seen a rate is 0 give or take this; from parity it counts in full where it is known to that.
_USUAL_RATE, _KNOWN_RATE = 0.04, 0.02
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
        discount_source: `[s]` `"given"`, `"rate"`, `"parity"`, `"parity, drawn to 1"` (its rate is known to no better
            than 2 %, so it was drawn to 0), `"coin"` (it is 1) or `""` (taken as 1).
        forward_error: `[s]` standard error of a forward from parity, else NaN (see `ParityFit`).
        discount_error: `[s]` standard error of a discount from parity, else NaN.
        num_pairs: `[s]` pairs of a call and a put that parity looked at.
        parity_discount: `[s]` what the pairs of the expiry alone say of the discount, whatever was given and whatever
            is used; it may be no discount at all. NaN where they say nothing, and in coin.
        parity_discount_error: `[s]` its standard error.
        implausible: `[s]` the discount was to come from parity, whose rate is beyond any: see `rate_sentence`.
            There is neither a discount nor a forward from parity then.
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
    parity_discount: FloatColumn
    parity_discount_error: FloatColumn
    implausible: Mask

    def rate_sentence(self, s: int) -> str:
        """Why the rate of parity at position `s`, where it is implausible, is none, and what to do."""
        discount = float(self.parity_discount[s])
        if discount > 0.0:
            says = f"a rate of {-np.log(discount) / self.years[s]:.4g} a year (discount factor {discount:.4g})"
        else:
            says = f"a discount factor of {discount:.4g}"
        return (
            f"put-call parity of its expiry says {says}, outside {_RATE_BAND[0]:.0%} to {_RATE_BAND[1]:.0%}: "
            f"{_likely_cause(discount)}; if the rate is right, give it (column rate or discount)"
        )

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
                "parity_discount": self.parity_discount,
                "parity_discount_error": self.parity_discount_error,
            }
        )


def expiry_forwards(columns: QuoteColumns, targets: Targets, *, contracts: Mask, quotes: Mask) -> ExpiryForwards:
    """The forward and discount of every expiry.

    The forward is the first of: the median of the column `forward`; put-call parity; the median of the column
    `carry_forward` (of futures, see `with_carry`); `spot` carried at `rate - dividend_yield` (0 where absent). The
    discount is the first of: the median of the column `discount`; `exp(-rate T)`; put-call parity; 1. Prices in coin
    need no discount.

    Discounts from parity are rates measured with an error that grows as the expiry gets short, so the rate of an
    expiry is averaged over the expiries of its group, each weighted by its own error and its distance in log time. A
    rate whose error is still above 2 % is drawn to 0, by the square of that ratio. The forward is then fitted again
    with that discount. A rate beyond any is reported, and nothing is made of it.

    Args:
        columns: of the table.
        targets: the value of each row.
        contracts: `[n]` rows whose contract is good: they define the expiries and the given carry.
        quotes: `[n]` rows whose price is good: they enter put-call parity.

    Returns:
        One record an expiry. It does not depend on the order of the rows.
    """
    expiry_of_row = np.full(len(contracts), -1)
    times, code = np.unique(columns.years[contracts], return_inverse=True)
    code += columns.group[contracts] * len(times)
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
    forward, (forward_error, discount_error) = carry["forward"].copy(), np.full((2, len(years)), np.nan)
    num_pairs = np.zeros(len(years), int)

    needs_discount = np.isnan(discount)
    parity_discount, parity_error = np.full((2, len(years)), np.nan)
    for s in np.flatnonzero(~in_coin):
        fit = fit_parity(*pairs[s])
        parity_discount[s], parity_error[s] = fit.discount, fit.discount_error
        num_pairs[s] = fit.num_pairs if needs_discount[s] and fit.discount_error > 0.0 else 0
    doubt = _BEYOND_ERRORS * parity_error + _BEYOND
    implausible = needs_discount & (
        (parity_discount + doubt < np.exp(-_RATE_BAND[1] * years))
        | (parity_discount - doubt > np.exp(-_RATE_BAND[0] * years))
    )
    told = needs_discount & ~implausible & (parity_discount > 0.0) & (parity_error > 0.0)
    rates, errors = np.full((2, len(years)), np.nan)
    rates[told] = -np.log(parity_discount[told]) / years[told]
    errors[told] = parity_error[told] / (parity_discount[told] * years[told])
    rates, errors = _smooth_rates(group, years, rates, errors)
    share = np.minimum((_KNOWN_RATE / errors) ** 2, 1.0)
    rates, errors = share * rates, np.hypot(share * errors, (1.0 - share) * _USUAL_RATE)
    found = needs_discount & ~implausible & ~np.isnan(rates)
    discount[found] = np.exp(-rates * years)[found]
    discount_source[found] = np.where(share == 1.0, "parity", "parity, drawn to 1")[found]
    discount_error[found] = (errors * years * discount)[found]
    unknown = np.isnan(discount) & ~implausible
    discount[unknown], discount_source[needs_discount & ~found] = 1.0, ""
    doubt_of_forward = np.where(unknown, _USUAL_RATE * years, np.nan_to_num(discount_error))

    forward_source = np.where(np.isnan(forward), "", "given").astype(object)
    for s in np.flatnonzero(np.isnan(forward) & ~implausible):
        fit = fit_parity(
            *pairs[s], discount=float(discount[s]), discount_error=float(doubt_of_forward[s]), in_coin=bool(in_coin[s])
        )
        num_pairs[s] = fit.num_pairs
        if fit.forward > 0.0:
            forward[s], forward_error[s], forward_source[s] = fit.forward, fit.forward_error, "parity"
    from_futures = np.isnan(forward) & (carry["carry_forward"] > 0.0)
    forward[from_futures], forward_source[from_futures] = carry["carry_forward"][from_futures], "carry"
    rate = np.where(np.isnan(carry["rate"]), -np.log(discount) / years, carry["rate"])
    carried = carry["spot"] * np.exp((rate - np.nan_to_num(carry["dividend_yield"])) * years)
    from_spot = np.isnan(forward) & ~np.isnan(carried) & ~implausible
    forward[from_spot], forward_source[from_spot] = carried[from_spot], "spot"
    return ExpiryForwards(
        expiry_of_row, group, years, forward, discount, forward_source, discount_source,
        forward_error, discount_error, num_pairs, parity_discount, parity_error, implausible,
    )  # fmt: skip


def _likely_cause(discount: float) -> str:
    """What makes parity say such a discount."""
    if discount <= 0.0:
        return "calls and puts look exchanged, or are not of one moment"
    tens = np.log10(discount)
    if tens > 0.7:
        return f"prices look about {10.0 ** round(tens):,.0f} times too large for the strikes (per contract?)"
    if tens < -0.7:
        times = f"{10.0 ** round(-tens):,.0f}"
        return f"prices are in the coin (see currency_of_price), or strikes are {times} times too large"
    return "calls and puts look not of one moment, or not of one contract"


def given_carry(columns: QuoteColumns, expiry_of_row: NDArray[np.int64], size: int) -> dict[str, FloatColumn]:
    """Median over each expiry of what the table gives: a polled forward drifts while the poll lasts.

    Args:
        columns: of the table.
        expiry_of_row: `[n]` as in `ExpiryForwards`.
        size: number of expiries.

    Returns:
        `[size]` each of `forward`, `carry_forward`, `discount`, `rate`, `spot`, `dividend_yield`; NaN where not given.

    Example:
        >>> from jaxcal.market.tables.quote_columns import validate_quotes
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
    strike, call, put, spread = (both[name].to_numpy(float) for name in ("strike", "price", "price_put", "spread"))
    return [(strike[a:b], call[a:b], put[a:b], spread[a:b]) for a, b in itertools.pairwise(bounds.tolist())]


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
        smooth[here] = weight @ rates[known] / weight.sum(1)
        smooth_error[here] = 1.0 / np.sqrt(weight.sum(1))
    return smooth, smooth_error
