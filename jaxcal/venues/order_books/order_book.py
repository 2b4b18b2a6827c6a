"""Order books of one or several venues as one quote table, and where the venues disagree."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jaxcal.market.tables.table_file import QuoteError
from jaxcal.market.taker_fee import TakerFee
from jaxcal.venues.order_books.book_levels import CARRIED, CONTRACT, check_levels

_SMALLEST_WEIGHT, _LARGEST_WEIGHT = 0.1, 10.0
_UNDERLYING = ("forward", "index_price", "spot")


@dataclass(frozen=True, eq=False)
class MergedBooks:
    """The books of all venues, merged by contract.

    Attributes:
        quotes: the tidy table, one row a contract: `underlying`, `quote_time`, `expiry`, `strike`, `option_type`,
            `currency_of_price`, `instrument_name`; `bid` and `ask`, the best across venues net of fees, `bid_size` and
            `ask_size` there, `bid_venue` and `ask_venue`; `bid_gross` and `ask_gross`, as published; `micro_price`, the
            mid weighted by the size of the other side; `bid_depth` and `ask_depth`, the amounts near the mid;
            `depth_weight`, for `weights_from(quotes, surface, "depth_weight")`; `num_venues`; and what stood beside
            the levels (`forward`, `mark`, ...), as the median over the contract.
        disagreements: one row a contract that several venues quote and do not agree about, in the unit of its price:
            `crossed_by`, how far the best bid of one is above the best ask of another (0 if it is not);
            `crossed_net_by`, the same after fees: the arbitrage profit; `mids_apart`, the distance of the
            outermost mids; `narrowest_spread`, which that exceeds unless only crossed; `bid_venue`, `ask_venue`.
        levels: the rows that were read, in their order, with `fault` (see `check_levels`).

    Example:
        >>> import pandas as pd, jaxcal as jc
        >>> table = pd.DataFrame({"instrument_name": "BTC-27JUN25-100000-C", "side": ["bid", "ask", "ask"],
        ...                       "price": [0.05, 0.052, 0.053], "amount": [3.0, -1.0, 2.0]})
        >>> merged = jc.merge_books(table)
        >>> merged.quotes["ask"].tolist(), merged.levels["fault"][1]
        ([0.053], 'row 1: amount -1 must be positive')
    """

    quotes: pd.DataFrame
    disagreements: pd.DataFrame
    levels: pd.DataFrame

    def summary(self) -> str:
        """One line for a person: what was read, what was left out, what venues disagree about."""
        bad = int(self.levels["fault"].ne("").sum())
        crossed = int(self.disagreements["crossed_by"].gt(0.0).sum())
        several = int(self.quotes["num_venues"].gt(1).sum())
        return (
            f"{len(self.levels) - bad:,} of {len(self.levels):,} levels used; {len(self.quotes):,} contracts, "
            f"{several:,} of several venues, {len(self.disagreements):,} of them in disagreement, {crossed:,} crossed"
        )


def merge_books(
    levels: pd.DataFrame, *, fees: TakerFee | Mapping[str, TakerFee] | None = None, within: float = 0.1
) -> MergedBooks:
    """Merge order books by contract: same underlying, expiry, strike and type, whatever a venue calls it.

    Args:
        levels: one row a level (see `check_levels`); `DeribitMarket.view(...).levels()` gives them of a live feed.
        fees: of all venues, or by venue; a venue that is not named is free. A bid is net of the fee, an ask
            includes it. Fees on prices that are not in the coin need a column `forward`,
            `index_price` or `spot`.
        within: amounts count for the depth where their price is within this share of the mid.

    Returns:
        The merged books. Every row of `levels` is in them or has a sentence why it is not.
        `depth_weight` is the mean of both depths over its median, at least 0.1 and at most 10: a side without any
        amount near the mid makes a quote count little, not nothing.

    Raises:
        QuoteError: the table is empty or lacks a column; or no level can be used.
        ValueError: `within` is not positive.

    Example:
        >>> import pandas as pd, jaxcal as jc
        >>> table = pd.DataFrame({
        ...     "venue": ["A", "A", "B", "B"], "instrument_name": "BTC-27JUN25-100000-C",
        ...     "side": ["bid", "ask", "bid", "ask"], "price": [0.050, 0.052, 0.051, 0.053],
        ...     "amount": [1.0, 3.0, 2.0, 1.0]})
        >>> merged = jc.merge_books(table)
        >>> print(merged.quotes[["bid", "ask", "bid_venue", "micro_price"]].round(5).to_string(index=False))
          bid   ask bid_venue  micro_price
        0.051 0.052         B       0.0514
        >>> print(merged.summary())
        4 of 4 levels used; 1 contracts, 1 of several venues, 0 of them in disagreement, 0 crossed
    """
    if not within > 0.0:
        raise ValueError(f"within is {within}: it must be positive")
    table = check_levels(levels)
    good = table[table["fault"].eq("")].copy()
    if good.empty:
        raise QuoteError(f"no level of the order books can be used; the first: {table['fault'].iloc[0]}")
    fee = _fees(good, fees)
    good["net"] = good["price"] - good["side"] * fee
    good["contract"] = good.groupby(CONTRACT, dropna=False, sort=True).ngroup()
    best = _best(good, ["contract"], "net")
    first = good.drop_duplicates("contract").set_index("contract").sort_index()
    quotes = first[["underlying", "quote_time", "expiry", "strike", "option_type", "currency_of_price"]].copy()
    quotes["instrument_name"] = first["instrument_name"]
    for side, name in ((1, "bid"), (-1, "ask")):
        one = best[best["side"] == side].set_index("contract")
        for column, source in (("", "net"), ("_size", "size"), ("_gross", "price"), ("_venue", "venue")):
            quotes[name + column] = one[source].reindex(quotes.index)
    bid, ask = quotes["bid"], quotes["ask"]
    quotes["micro_price"] = (bid * quotes["ask_size"] + ask * quotes["bid_size"]) / (
        quotes["bid_size"] + quotes["ask_size"]
    )
    _add_depth(quotes, good, within)
    quotes["num_venues"] = good.groupby("contract")["venue"].nunique()
    for name in CARRIED:
        if name in good and good[name].notna().any():
            quotes[name] = good.groupby("contract")[name].median()
    for name in ("underlying", "quote_time"):
        if quotes[name].isna().all():
            quotes = quotes.drop(columns=name)
    return MergedBooks(quotes=quotes.rename_axis(index=None), disagreements=_disagreements(good, quotes), levels=table)


def _fees(good: pd.DataFrame, fees: TakerFee | Mapping[str, TakerFee] | None) -> np.ndarray:
    """The fee of every level, in the unit of its price."""
    venues = good["venue"]
    by_venue = dict.fromkeys(venues.unique(), fees) if isinstance(fees, TakerFee) else dict(fees or {})
    unit = pd.Series(np.nan, good.index)
    for name in _UNDERLYING:
        if name in good:
            unit = unit.fillna(good[name].where(good[name] > 0.0))
    unit = unit.where(good["currency_of_price"].ne("coin"), 1.0)
    price, found = good["price"].to_numpy(float), np.zeros(len(good))
    for name, fee in by_venue.items():
        rows = venues.eq(name).to_numpy()
        if fee is None or not rows.any() or fee.rate == 0.0:
            continue
        if unit[rows].isna().any():
            raise QuoteError(
                f"the fee of venue {name!r} is a share of the underlying, whose price is not beside "
                f"row {unit[rows].index[unit[rows].isna()][0]}: add a column forward, index_price or spot"
            )
        found[rows] = fee.of(price[rows], unit[rows].to_numpy(float))
    return found


def _best(good: pd.DataFrame, keys: list[str], price: str) -> pd.DataFrame:
    """The best level of every side of every book, with the size of all that are as good, of the largest of them."""
    value = good[price] * good["side"]
    top = good[value.eq(value.groupby([good[key] for key in [*keys, "side"]]).transform("max"))]
    size = top.groupby([*keys, "side"])["amount"].transform("sum")
    ranked = top.assign(size=size).sort_values(["amount", "venue"], ascending=[False, True], kind="stable")
    return ranked.drop_duplicates([*keys, "side"])


def _add_depth(quotes: pd.DataFrame, good: pd.DataFrame, within: float) -> None:
    mid = 0.5 * (quotes["bid_gross"] + quotes["ask_gross"])
    mid = mid.fillna(quotes["bid_gross"]).fillna(quotes["ask_gross"])
    of_level = good["contract"].map(mid)
    near = good[(good["price"] - of_level).abs() <= within * of_level]
    for side, name in ((1, "bid_depth"), (-1, "ask_depth")):
        depth = near[near["side"] == side].groupby("contract")["amount"].sum()
        quotes[name] = depth.reindex(quotes.index, fill_value=0.0)
    both = 0.5 * (quotes["bid_depth"] + quotes["ask_depth"])
    usual = both[both > 0.0].median()
    weight = both / usual if usual > 0.0 else both + 1.0
    quotes["depth_weight"] = weight.clip(_SMALLEST_WEIGHT, _LARGEST_WEIGHT)


def _disagreements(good: pd.DataFrame, quotes: pd.DataFrame) -> pd.DataFrame:
    """Contracts whose venues cross, or whose mids are apart by more than the narrower spread."""
    best = _best(good, ["contract", "venue"], "price")
    sides = best.pivot(index=["contract", "venue"], columns="side", values="price").reindex(columns=[1, -1])
    net = best.pivot(index=["contract", "venue"], columns="side", values="net").reindex(columns=[1, -1])
    own = pd.DataFrame({"bid": sides[1], "ask": sides[-1], "net_bid": net[1], "net_ask": net[-1]})
    own["mid"], own["spread"] = 0.5 * (own["bid"] + own["ask"]), own["ask"] - own["bid"]
    of = own.groupby("contract")
    found = pd.DataFrame(
        {
            "crossed_by": (of["bid"].max() - of["ask"].min()).clip(lower=0.0).fillna(0.0),
            "crossed_net_by": (of["net_bid"].max() - of["net_ask"].min()).clip(lower=0.0).fillna(0.0),
            "mids_apart": (of["mid"].max() - of["mid"].min()).fillna(0.0),
            "narrowest_spread": of["spread"].min(),
        }
    )
    odd = found["crossed_by"].gt(0.0) | found["mids_apart"].gt(found["narrowest_spread"])
    names = [name for name in (*CONTRACT, "currency_of_price", "bid_venue", "ask_venue") if name in quotes]
    return quotes[names].join(found[odd], how="inner").reset_index(drop=True)
