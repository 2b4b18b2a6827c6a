"""Levels of order books, read and checked: a row keeps its place, and has a sentence where it cannot be used."""

import bisect
from collections.abc import Callable

import numpy as np
import pandas as pd

from jaxcal._types import Mask
from jaxcal.dates.instants import first_of_poll, read_instants
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.deribit.instrument import DeribitInstrument

_SIDES = {"bid": 1, "bids": 1, "b": 1, "buy": 1, "ask": -1, "asks": -1, "a": -1, "sell": -1, "offer": -1}
_TYPES = {"c": "C", "call": "C", "p": "P", "put": "P"}
CONTRACT = ["underlying", "quote_time", "expiry", "strike", "option_type"]
# What may stand beside a level of any venue and is handed on with its contract.
CARRIED = ("forward", "carry_forward", "discount", "rate", "spot", "index_price", "mark", "mark_iv", "open_interest")


def check_levels(levels: pd.DataFrame) -> pd.DataFrame:
    """Read a table of order-book levels, every row accounted for.

    Args:
        levels: one row a level: `side` (bid or ask), `price`, `amount`, and the contract: `instrument_name` as Deribit
            writes it, or `expiry`, `strike` and `option_type` (of a row that has both, the columns count). Also
            `underlying`, `venue`, `level` (0 = best), `quote_time` or `snapshot_ts`, `currency_of_price` (`coin` or
            `quote`).

    Returns:
        The rows in their order, with the columns `venue`, `underlying`, `quote_time`, `expiry`, `strike`,
        `option_type`, `side` (1 bid, -1 ask, 0 unknown), `level` (NaN where not given), `price`, `amount`,
        `currency_of_price`, `instrument_name`, those of `CARRIED` that are there, and `fault`: why a row is not used,
        empty if it is. Levels at fault are those with a number that is missing, not a number or not positive, an
        unknown side, a contract that cannot be read, a currency unlike that of their contract, a level or a price that
        occurs twice, a price out of the order of its levels, a side that crosses the other side of its own book, and
        books of which the venue sent a later one in the same poll.

    Raises:
        QuoteError: the table is empty or lacks a column.

    Example:
        >>> table = pd.DataFrame({"instrument_name": "BTC-27JUN25-100000-C", "side": ["bid", "ask"], "price": 0.05,
        ...                       "amount": [3.0, -1.0]})
        >>> check_levels(table)["fault"].tolist()
        ['', 'row 1: amount -1 must be positive']
    """
    _check_columns(levels)
    faults = _Faults(len(levels))
    table = pd.DataFrame(index=pd.RangeIndex(len(levels)))
    table["venue"] = _texts(levels, "venue", "")
    blank = table["venue"].eq("").to_numpy() if "venue" in levels else np.zeros(len(levels), bool)
    faults.add(blank, lambda i: "venue is missing")
    _contracts(levels, table, faults)
    _times(levels, table, faults)
    for name in ("price", "amount"):
        table[name] = _numbers(levels, name, faults, positive=True)
    sides = _texts(levels, "side", "")
    table["side"] = sides.str.lower().map(_SIDES).fillna(0).to_numpy(np.int8)
    faults.add(table["side"].eq(0).to_numpy(), lambda i: f"side {sides.iloc[i]!r} is neither bid nor ask")
    table["level"] = np.nan
    if "level" in levels:
        table["level"] = _numbers(levels, "level", faults)
        faults.add(~(table["level"] >= 0).to_numpy(), lambda i: f"level {table['level'].iloc[i]} must not be negative")
    for name in CARRIED:
        if name in levels:
            table[name] = pd.to_numeric(levels[name], errors="coerce").to_numpy(float, na_value=np.nan)
    _newest_books(table, faults)
    _one_currency(table, faults)
    _each_once(table, faults)
    _in_order(table, faults)
    _uncrossed(table, faults)
    return table.assign(fault=faults.sentences)


class _Faults:
    """The first fault of every row."""

    def __init__(self, size: int) -> None:
        self.sentences = np.full(size, "", object)

    @property
    def good(self) -> Mask:
        return self.sentences == ""

    def add(self, rows: Mask, sentence: Callable[[int], str]) -> None:
        for row in np.flatnonzero(rows & self.good).tolist():
            self.sentences[row] = f"row {row}: {sentence(row)}"


def _check_columns(levels: pd.DataFrame) -> None:
    columns = ", ".join(map(str, levels.columns))
    if not len(levels):
        raise QuoteError(f"the table of levels has no rows; its columns are: {columns or 'none'}")
    if levels.columns.has_duplicates:
        raise QuoteError(f"column {levels.columns[levels.columns.duplicated()][0]} occurs twice: drop or rename one")
    if missing := [name for name in ("side", "price", "amount") if name not in levels]:
        raise QuoteError(f"order-book levels need the column {missing[0]}; columns found: {columns}")
    if "instrument_name" not in levels and not {"expiry", "strike", "option_type"} <= set(levels.columns):
        raise QuoteError(f"levels need instrument_name, or expiry, strike and option_type; columns found: {columns}")


def _texts(table: pd.DataFrame, name: str, filler: str) -> pd.Series:
    if name not in table:
        return pd.Series(filler, pd.RangeIndex(len(table)), dtype=object)
    column = table[name].reset_index(drop=True)
    return column.astype(object).where(column.notna(), "").astype(str).str.strip().astype(object)


def _numbers(table: pd.DataFrame, name: str, faults: _Faults, *, positive: bool = False) -> np.ndarray:
    column = table[name].reset_index(drop=True)
    boolean = column.map(lambda value: isinstance(value, bool | np.bool_)).to_numpy(bool)
    values = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    faults.add(column.isna().to_numpy(), lambda i: f"{name} is missing")
    faults.add(np.isnan(values) | boolean, lambda i: f"{name} {str(column.iloc[i])[:40]!r} is not a number")
    faults.add(np.isinf(values), lambda i: f"{name} {values[i]} is not finite")
    if positive:
        faults.add(~(values > 0.0), lambda i: f"{name} {values[i]:g} must be positive")
    return values


def _contracts(levels: pd.DataFrame, table: pd.DataFrame, faults: _Faults) -> None:
    """Fill underlying, expiry, strike, option_type, currency_of_price: from columns, and where empty from the name."""
    names = _texts(levels, "instrument_name", "")
    table["instrument_name"] = names
    known: dict[str, DeribitInstrument | None] = {}
    sentences: dict[str, str] = {}
    for name in names.unique():
        try:
            known[name] = DeribitInstrument.of(name)
        except ValueError as error:
            known[name], sentences[name] = None, str(error)
        if (found := known[name]) is not None and found.kind != "option":
            known[name], sentences[name] = None, f"instrument {name!r} is a {found.kind}, no option"
    contracts = {name: found for name, found in known.items() if found is not None}

    def of_name(values: dict[str, object]) -> pd.Series:
        return names.map(values).astype(object)

    parts: dict[str, pd.Series] = {
        "underlying": of_name({name: found.underlying for name, found in contracts.items()}),
        "expiry": of_name({name: found.expiry for name, found in contracts.items()}),
        "strike": of_name({name: found.strike for name, found in contracts.items()}),
        "option_type": of_name({name: "C" if found.is_call else "P" for name, found in contracts.items()}),
        "currency_of_price": of_name({name: "coin" if found.inverse else "quote" for name, found in contracts.items()}),
    }
    for name, of_names in parts.items():
        if name in levels:
            given = levels[name].reset_index(drop=True).astype(object)
            parts[name] = given.where(given.notna() & given.astype(str).str.strip().ne(""), of_names)
    unread = parts["expiry"].isna() | parts["strike"].isna() | parts["option_type"].isna()
    faults.add(unread.to_numpy(), lambda i: sentences.get(names.iloc[i], "expiry, strike or option_type is missing"))
    table["underlying"] = parts["underlying"].where(parts["underlying"].notna(), None)
    strikes = pd.to_numeric(parts["strike"], errors="coerce").to_numpy(float, na_value=np.nan)
    faults.add(
        ~(strikes > 0.0) | np.isinf(strikes), lambda i: f"strike {parts['strike'].iloc[i]} is no positive number"
    )
    table["strike"] = strikes
    types = parts["option_type"].astype(str).str.strip().str.lower().map(_TYPES)
    faults.add(types.isna().to_numpy(), lambda i: f"option_type {parts['option_type'].iloc[i]!r} is none of C, P")
    table["option_type"] = types
    currency = parts["currency_of_price"].where(parts["currency_of_price"].notna(), "quote").astype(str).str.lower()
    faults.add(
        ~currency.isin(["coin", "quote"]).to_numpy(), lambda i: f"currency_of_price {currency.iloc[i]!r}: coin or quote"
    )
    table["currency_of_price"] = currency
    if "expiry" in levels and pd.api.types.is_numeric_dtype(levels["expiry"]):
        table["expiry"] = levels["expiry"].to_numpy(float, na_value=np.nan)  # years
        faults.add(~np.isfinite(table["expiry"].to_numpy()), lambda i: "expiry is missing")
        return
    expiry, bare = read_instants(parts["expiry"])
    faults.add(np.isnat(expiry), lambda i: f"expiry {str(parts['expiry'].iloc[i])[:40]!r} is not an ISO 8601 time")
    faults.add(bare, lambda i: f"expiry {str(parts['expiry'].iloc[i])[:10]} is a bare date: add a time of day")
    table["expiry"] = pd.DatetimeIndex(expiry).tz_localize("UTC")


def _times(levels: pd.DataFrame, table: pd.DataFrame, faults: _Faults) -> None:
    """`book_time`, of the book itself, and `quote_time`, of the poll that it belongs to."""
    name = next((name for name in ("quote_time", "snapshot_ts") if name in levels), None)
    if name is None:
        unknown = pd.DatetimeIndex(np.full(len(levels), "NaT", "datetime64[us]"))
        table["book_time"] = table["quote_time"] = unknown.tz_localize("UTC")
        return
    instants, _ = read_instants(levels[name].reset_index(drop=True))
    faults.add(np.isnat(instants), lambda i: f"{name} {str(levels[name].iloc[i])[:40]!r} is not an ISO 8601 time")
    table["book_time"] = pd.DatetimeIndex(instants).tz_localize("UTC")
    polled = instants.copy()
    underlying = table["underlying"].astype(str).to_numpy(object)
    for of in pd.unique(underlying):
        rows = (underlying == of) & ~np.isnat(instants)
        polled[rows] = first_of_poll(polled[rows])
    table["quote_time"] = pd.DatetimeIndex(polled).tz_localize("UTC")


def _newest_books(table: pd.DataFrame, faults: _Faults) -> None:
    """Of several books of one contract that a venue sent in one poll the last counts."""
    good = table[faults.good]
    newest = good.groupby([*CONTRACT, "venue"], dropna=False)["book_time"].transform("max")
    old = np.zeros(len(table), bool)
    old[good.index[(good["book_time"] < newest).to_numpy()]] = True
    faults.add(old, lambda i: "its venue has a later book of the same contract")


def _one_currency(table: pd.DataFrame, faults: _Faults) -> None:
    """The unit of a contract's prices is that of most of its levels, the first among equals."""
    good = table.loc[faults.good]
    count = good.groupby([*CONTRACT, "currency_of_price"], dropna=False)["price"].transform("size")
    ranked = good.assign(count=count).sort_values("count", ascending=False, kind="stable")
    usual = ranked.groupby(CONTRACT, dropna=False)["currency_of_price"].transform("first").reindex(good.index)
    other = np.zeros(len(table), bool)
    other[good.index[good["currency_of_price"].ne(usual).to_numpy()]] = True
    faults.add(
        other,
        lambda i: f"its price is in the {table['currency_of_price'].iloc[i]}, those of its contract in the {usual[i]}",
    )


def _each_once(table: pd.DataFrame, faults: _Faults) -> None:
    """A side of a book has every level and every price once."""
    for name in ("level", "price"):
        good = table.loc[faults.good & table[name].notna().to_numpy()]
        key = [*CONTRACT, "venue", "side", name]
        first = good.assign(row=good.index).groupby(key, dropna=False)["row"].transform("first")
        again = np.zeros(len(table), bool)
        again[good.index[(first != good.index).to_numpy()]] = True
        faults.add(again, lambda i, n=name, f=first: f"the {n} of row {f[i]} once more, which is kept")


def _in_order(table: pd.DataFrame, faults: _Faults) -> None:
    """Where levels are numbered, prices must worsen with them: the fewest rows that break this are left out."""
    good = table.loc[faults.good & table["level"].notna().to_numpy()]
    key = [*CONTRACT, "venue", "side"]
    ranked = good.assign(
        book=good.groupby(key, dropna=False).ngroup(), worse=-good["price"] * good["side"].to_numpy(float)
    ).sort_values(["book", "level"], kind="stable")
    step = ranked["worse"].diff().where(ranked["book"].diff().eq(0))
    broken = np.zeros(len(table), bool)
    for _, rows in ranked[ranked["book"].isin(ranked.loc[step < 0, "book"])].groupby("book"):
        # Backwards, so that of two levels of which either may be wrong the better numbered one is kept.
        kept = _longest_increase((-rows["worse"]).tolist()[::-1])
        broken[rows.index.delete([len(rows) - 1 - i for i in kept])] = True
    faults.add(
        broken, lambda i: f"price {table['price'].iloc[i]:g} at level {table['level'].iloc[i]:g} is out of order"
    )


def _longest_increase(values: list[float]) -> list[int]:
    """Positions, last first, of a longest increasing subsequence, by patience sorting (Fredman 1975)."""
    tops: list[float] = []
    at: list[int] = []
    before: list[int] = []
    for i, value in enumerate(values):
        pile = bisect.bisect_left(tops, value)
        before.append(at[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(value)
            at.append(i)
        else:
            tops[pile], at[pile] = value, i
    found, i = [], at[-1]
    while i >= 0:
        found.append(i)
        i = before[i]
    return found


def _uncrossed(table: pd.DataFrame, faults: _Faults) -> None:
    """A locked or crossed book loses the fewest best levels that uncross it; both best ones if that is a tie."""
    good = table.loc[faults.good]
    book = good.groupby([*CONTRACT, "venue"], dropna=False).ngroup()
    bid = good["price"].where(good["side"] > 0).groupby(book).max()
    ask = good["price"].where(good["side"] < 0).groupby(book).min()
    crossed = np.zeros(len(table), bool)
    bad = book.isin(bid.index[(bid >= ask).to_numpy()])
    for _, rows in good[bad].groupby(book[bad]):
        bids = rows[rows["side"] > 0].sort_values("price", ascending=False, kind="stable")
        asks = rows[rows["side"] < 0].sort_values("price", kind="stable")
        while len(bids) and len(asks) and bids["price"].iloc[0] >= asks["price"].iloc[0]:
            high = int((bids["price"] >= asks["price"].iloc[0]).sum())
            low = int((asks["price"] <= bids["price"].iloc[0]).sum())
            drop_bids, drop_asks = (high, 0) if high < low else (0, low) if low < high else (1, 1)
            crossed[bids.index[:drop_bids]] = True
            crossed[asks.index[:drop_asks]] = True
            bids, asks = bids.iloc[drop_bids:], asks.iloc[drop_asks:]
    faults.add(crossed, lambda i: f"price {table['price'].iloc[i]:g} crosses the other side of its own book")
