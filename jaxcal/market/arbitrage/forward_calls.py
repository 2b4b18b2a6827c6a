"""Calls: the quotes of one surface as calls over their forwards, as conditions of no arbitrage need them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from jaxcal._types import FloatColumn, Mask
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.surface import Surface
from jaxcal.market.tables.verdict import Verdict
from jaxcal.market.taker_fee import TakerFee


@dataclass(frozen=True, eq=False)
class Calls:
    """One call for every strike of every expiry of one surface, sorted by expiry, then strike; no strike twice.

    Prices are undiscounted, over the forward of the expiry, so that expiries compare at equal strike over forward.

    Attributes:
        expiry: `[n]` number of the expiry.
        years, forward, discount: `[n]` of its expiry.
        strike: `[n]`.
        moneyness: `[n]` strike over forward.
        vol: `[n]` volatility of the mid.
        price, bid, ask: `[n]`; NaN for a bid or ask that is not known.
        row: `[n]` position in the caller's table, or -1.
        is_call: `[n]` whether the quote is a call's; otherwise it is a put's, turned into a call by parity.
    """

    expiry: NDArray[np.int64]
    years: FloatColumn
    forward: FloatColumn
    discount: FloatColumn
    strike: FloatColumn
    moneyness: FloatColumn
    vol: FloatColumn
    price: FloatColumn
    bid: FloatColumn
    ask: FloatColumn
    row: NDArray[np.int64]
    is_call: Mask

    @classmethod
    def from_vols(
        cls,
        years: FloatColumn,
        strike: FloatColumn,
        forward: FloatColumn,
        discount: FloatColumn,
        vols: tuple[FloatColumn, FloatColumn, FloatColumn],
        row: NDArray[np.int64],
        is_call: Mask,
    ) -> "Calls":
        """From the volatilities of mid, bid and ask, `[n]` in any order; of equal strikes the first is kept."""
        order = np.lexsort((row, strike, years))
        years, strike = years[order], strike[order]
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(years) > 0.0) | (np.diff(strike) > 0.0)
        order, years, strike = order[new], years[new], strike[new]
        moneyness = strike / forward[order]
        vol, bid, ask = (v[order] for v in vols)
        return cls(
            np.unique(years, return_inverse=True)[1], years, forward[order], discount[order], strike, moneyness, vol,
            call_over_forward(vol, moneyness, years), call_over_forward(bid, moneyness, years),
            call_over_forward(ask, moneyness, years), row[order], is_call[order],
        )  # fmt: skip

    def net_of(self, fee: TakerFee) -> tuple[FloatColumn, FloatColumn]:
        """`[n]` bids and asks after the fee of the quoted option, a call or a put; the underlying of the fee is taken
        to be worth the discounted forward.
        """
        shift = np.where(self.is_call, 0.0, 1.0 - self.moneyness)  # call less put
        return self.bid - fee.of(self.bid - shift, 1.0), self.ask + fee.of(self.ask - shift, 1.0)

    def vega(self) -> FloatColumn:
        """`[n]` derivative of the price by volatility; 0 where the volatility is, as a law that ends has it beyond."""
        deviation = self.vol * np.sqrt(self.years)
        known = deviation != 0.0
        d1 = 0.5 * deviation - np.log(self.moneyness) / np.where(known, deviation, 1.0)
        return np.where(known, np.sqrt(self.years / (2.0 * np.pi)) * np.exp(-0.5 * d1 * d1), 0.0)


def call_over_forward(vol: FloatColumn, moneyness: FloatColumn, years: FloatColumn) -> FloatColumn:
    """Undiscounted Black price of a call over the forward, `[n]`; NaN where the volatility is.

    Example:
        >>> print(call_over_forward(np.array([0.2]), np.array([1.1]), np.array([0.5])).round(8))
        [0.02211246]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = vol * np.sqrt(years)
        d1 = 0.5 * deviation - np.log(moneyness) / deviation
        value = ndtr(d1) - moneyness * ndtr(d1 - deviation)
    return np.where(vol == 0.0, np.maximum(1.0 - moneyness, 0.0), value)


def calls_of_surface(surface: Surface) -> Calls:
    """The calls of a surface's quotes.

    Raises:
        ValueError: the surface is a batch.
    """
    if np.ndim(surface.expiry) != 1:
        raise ValueError("the surface is a batch: look at one surface at a time")
    line, place = np.nonzero(np.asarray(surface.weight) > 0.0)
    years, forward, discount = (np.asarray(x, float)[line] for x in (surface.expiry, surface.forward, surface.discount))
    strike, *vols = (
        np.asarray(x, float)[line, place] for x in (surface.strike, surface.vol, surface.bid_vol, surface.ask_vol)
    )
    row, is_call = (np.asarray(x)[line, place] for x in (surface.row, surface.is_call))
    return Calls.from_vols(
        years, strike, forward, discount, (vols[0], vols[1], vols[2]), row.astype(np.int64), is_call.astype(bool)
    )


def calls_of_report(report: QuoteReport, group: int) -> Calls:
    """The calls of the used rows of one surface of a report."""
    table = report.table
    rows = np.flatnonzero(table["group"].eq(group) & table["verdict"].eq(str(Verdict.USED)))
    names = ("years", "strike", "forward", "discount", "vol", "bid_vol", "ask_vol")
    years, strike, forward, discount, *vols = (pd.to_numeric(table[name].iloc[rows]).to_numpy(float) for name in names)
    is_call = table["is_call"].iloc[rows].to_numpy(bool)
    return Calls.from_vols(years, strike, forward, discount, (vols[0], vols[1], vols[2]), rows, is_call)
