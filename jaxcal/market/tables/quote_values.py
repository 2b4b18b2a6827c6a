"""Targets: the value of each row of a quote table, as a price or as a volatility."""

from dataclasses import dataclass

import numpy as np

from jaxcal._types import FloatColumn
from jaxcal.market.tables.quote_columns import QuoteColumns


@dataclass(frozen=True, eq=False)
class Targets:
    """The value of each row, in the units of the table: the mid, else `price`, else `iv`.

    Attributes:
        price: `[n]` price in the units of the table, NaN where the value is a volatility.
        vol: `[n]` given volatility where there is no price, else NaN.
        bid, ask: `[n]` NaN where there is none; a bid or ask of zero is none.
    """

    price: FloatColumn
    vol: FloatColumn
    bid: FloatColumn
    ask: FloatColumn


def select_targets(columns: QuoteColumns) -> Targets:
    """The value of each row: bid/ask mid, else `price`, else `iv`."""
    bid = np.where(columns.bid > 0.0, columns.bid, np.nan)
    ask = np.where(columns.ask > 0.0, columns.ask, np.nan)
    mid = 0.5 * (bid + ask)
    price = np.where(np.isnan(mid), columns.price, mid)
    return Targets(price=price, vol=np.where(np.isnan(price), columns.iv, np.nan), bid=bid, ask=ask)
