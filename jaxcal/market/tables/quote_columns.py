"""QuoteColumns: the tidy quote table as validated arrays; the border at which data are checked."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal._types import FloatColumn, Mask
from jaxcal.dates.instants import Instants, is_midnight, read_instants, read_local_times, years_between
from jaxcal.dates.us_calendar import settle_us
from jaxcal.market.tables.cells import as_numbers, is_nothing, read_numbers
from jaxcal.market.tables.sentences import listed, one_line, quoted, shown
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.market.tables.verdict import Verdict

QuoteKey = tuple[str | None, pd.Timestamp | None]

PERCENT_VOL = 5.0  # a volatility above 500 % is taken for a number in percent where its neighbours are below
LONGEST_EXPIRY = 100.0  # a number of years above this is taken for days or for a date
_SIDES = {"c": 1, "call": 1, "p": -1, "put": -1}
_AT_NEED = ("spot", "dividend_yield", "price", "iv", "bid_iv", "ask_iv")
_NEEDED = ("strike", "bid", "ask", "forward", "carry_forward", "discount", "rate")


@dataclass(frozen=True, eq=False)
class QuoteColumns:
    """The columns of a tidy table as arrays of one length, in the caller's row order.

    Absent columns and empty cells are NaN. Rows in `faults` could not be read; their numbers mean nothing.

    Attributes:
        strike, bid, ask, price, iv, bid_iv, ask_iv, forward, carry_forward, discount, rate, spot, dividend_yield: as in
            the table.
        years: time to expiry in years, actual/365 to the second.
        expiry_in_years: whether the table gives them as numbers.
        side: 1 call, -1 put, 0 not given.
        in_coin: prices are in the coin (an inverse option).
        american: American exercise.
        update_time: of each row, where the table is one of updates; NaT where it is not.
        group: index into `keys`; -1 where unknown.
        keys: sorted `(underlying, quote_time)`.
        faults: for each unreadable row, its position, the verdict and a sentence.
    """

    strike: FloatColumn
    bid: FloatColumn
    ask: FloatColumn
    price: FloatColumn
    iv: FloatColumn
    bid_iv: FloatColumn
    ask_iv: FloatColumn
    forward: FloatColumn
    carry_forward: FloatColumn
    discount: FloatColumn
    rate: FloatColumn
    spot: FloatColumn
    dividend_yield: FloatColumn
    years: FloatColumn
    expiry_in_years: bool
    side: NDArray[np.int8]
    in_coin: Mask
    american: Mask
    update_time: Instants
    group: NDArray[np.int64]
    keys: tuple[QuoteKey, ...]
    faults: dict[int, tuple[Verdict, str]]


class _Faults:
    """Collects the first fault of every row."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[Verdict, str]] = {}

    def add(self, rows: Mask, verdict: Verdict, sentence: Callable[[int], str]) -> None:
        for row in np.flatnonzero(rows).tolist():
            if row not in self.found:
                self.found[row] = (verdict, one_line(f"row {row}: {sentence(row)}"))


def validate_quotes(quotes: pd.DataFrame) -> QuoteColumns:
    """Read the columns of a tidy quote table; the border of the library.

    Args:
        quotes: the tidy table: `expiry` (timestamps, or years), `strike`, `option_type`, one of `bid`/`ask`,
            `price`, `iv`, and the optional columns. A table with only `iv` needs no `option_type`. A sentence in
            the column `fault` says that the row is none that can be used: the reader of a venue's file puts it there.

    Returns:
        The columns. A row that cannot be read is a fault with a sentence, not an error.

    Raises:
        QuoteError: no rows, a missing column, or a whole column in the wrong unit or vocabulary.

    Example:
        >>> columns = validate_quotes(pd.DataFrame({"expiry": 0.5, "strike": ["100", "x"], "iv": 0.2}))
        >>> columns.faults[1][1]
        "row 1: strike 'x' is not a number"
    """
    _check_columns(quotes)
    faults = _Faults()
    if "fault" in quotes:  # rows of which the reader of the file has said why they are no quotes
        told = quotes["fault"]
        faults.add(~is_nothing(told), Verdict.UNREADABLE, lambda row: str(told.iloc[row]))
    american = _word(quotes, "exercise", {"e": False, "european": False, "a": True, "american": True}, faults)
    numbers = {name: _numbers(quotes, name, faults) for name in _NEEDED}
    # What a row can do without spoils nothing: what makes a forward beside one, a last price or a volatility beside bid
    # and ask, and their volatilities.
    forwarded = np.isfinite(numbers["forward"]) & ~american
    for name in ("spot", "dividend_yield"):
        numbers[name] = _numbers(quotes, name, faults, ignored=forwarded)
    priced = (numbers["bid"] > 0.0) & (numbers["ask"] > 0.0)
    numbers["price"] = _numbers(quotes, "price", faults, ignored=priced)
    priced |= np.isfinite(numbers["price"])
    numbers["iv"] = _numbers(quotes, "iv", faults, ignored=priced)
    for name in ("bid_iv", "ask_iv"):
        numbers[name] = _numbers(quotes, name, faults, ignored=np.ones(len(quotes), bool))
    faults.add(np.isnan(numbers["strike"]), Verdict.MISSING, lambda row: "strike is missing")
    side = _side(quotes, faults)
    in_coin = _word(quotes, "currency_of_price", {"quote": False, "coin": True}, faults)
    quote_time = _quote_times(quotes, faults)
    years = _years(quotes, quote_time, faults)
    group, keys = _groups(quotes, quote_time, faults)
    return QuoteColumns(
        **numbers,
        years=years,
        expiry_in_years=_in_years(quotes["expiry"]),
        side=side,
        in_coin=in_coin,
        american=american,
        update_time=_update_times(quotes),
        group=group,
        keys=keys,
        faults=faults.found,
    )


def with_numbers(quotes: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers in the columns of numbers, where their texts are some; the rest as it is."""
    if quotes.columns.has_duplicates:  # for `validate_quotes` to refuse
        return quotes
    names = [name for name in (*_NEEDED, *_AT_NEED) if name in quotes]
    changed = {name: column for name in names if (column := as_numbers(quotes[name])) is not quotes[name]}
    return quotes.assign(**changed) if changed else quotes


def _check_columns(quotes: pd.DataFrame) -> None:
    columns = listed(quotes.columns)
    if not len(quotes):
        raise QuoteError(f"the quote table has no rows; its columns are: {columns or 'none'}")
    if quotes.columns.has_duplicates:
        raise QuoteError(
            f"column {shown(quotes.columns[quotes.columns.duplicated()][0])} occurs twice: drop or rename one"
        )
    values = {"bid", "ask", "price", "iv"} & set(quotes.columns)
    for name, remedy in (("expiry", "timestamps, or years"), ("strike", "numbers")):
        if name not in quotes:
            raise QuoteError(
                f"column {name} is missing: add it ({remedy}), or use read_quotes on the file; columns found: {columns}"
            )
    if not values:
        raise QuoteError(f"no column has a value: add bid and ask, or price, or iv; columns found: {columns}")
    if "option_type" not in quotes and values != {"iv"}:
        raise QuoteError(
            f"column option_type is missing: add it (C or P); only a table of iv needs none; columns found: {columns}"
        )


def _numbers(quotes: pd.DataFrame, name: str, faults: _Faults, ignored: Mask | None = None) -> FloatColumn:
    """A column of numbers; what is none is a fault of its row, or nothing where the row does not need it."""
    if name not in quotes:
        return np.full(len(quotes), np.nan)
    column = quotes[name]
    values, odd = read_numbers(column)
    needed = np.ones(len(quotes), bool) if ignored is None else ~ignored
    faults.add(
        odd & needed,
        Verdict.NOT_A_NUMBER,
        lambda row: f"{name} {quoted(str(column.iloc[row]))} is not a number{_percent_sign(column.iloc[row])}",
    )
    infinite = np.isinf(values)
    faults.add(
        infinite & needed,
        Verdict.NOT_A_NUMBER,
        lambda row: f"{name} {values[row]} is not finite, or has more than 308 digits",
    )
    return np.where(infinite & ~needed, np.nan, values)


def _percent_sign(cell: object) -> str:
    """What to do with a cell that ends with one."""
    return ": write it as a decimal, divided by 100" if str(cell)[-20:].strip().endswith("%") else ""


def _word(quotes: pd.DataFrame, name: str, meanings: dict[str, bool], faults: _Faults) -> Mask:
    """A column of a small vocabulary; an absent column or cell means False."""
    if name not in quotes:
        return np.zeros(len(quotes), bool)
    column = quotes[name]
    read = column.astype(str).str.strip().str.lower().map(meanings)
    known = ", ".join(meanings)
    faults.add(
        read.isna().to_numpy() & ~is_nothing(column),
        Verdict.UNREADABLE,
        lambda row: f"{name} {quoted(str(column.iloc[row]))} is none of {known}",
    )
    return read.eq(True).to_numpy(bool)


def _side(quotes: pd.DataFrame, faults: _Faults) -> NDArray[np.int8]:
    if "option_type" not in quotes:
        return np.zeros(len(quotes), np.int8)
    column = quotes["option_type"]
    side = np.asarray(column.astype(str).str.strip().str.lower().map(_SIDES).fillna(0), np.int8)
    blank = is_nothing(column)
    if not side.any() and not blank.all():
        example = str(column[~blank].iloc[0])
        raise QuoteError(
            f"column option_type: no row is C, P, call or put (the first is {quoted(example)}): rename the values"
        )
    faults.add(
        (side == 0) & ~blank,
        Verdict.UNREADABLE,
        lambda row: f"option_type {quoted(str(column.iloc[row]))} is none of C, P, call, put",
    )
    # A volatility is the same for a call and a put; a price is not.
    priced = np.zeros(len(quotes), bool)
    for name in {"bid", "ask", "price"} & set(quotes.columns):
        priced |= quotes[name].notna().to_numpy(bool)
    faults.add(blank & priced, Verdict.MISSING, lambda row: "option_type is missing beside a price")
    return side


def _quote_times(quotes: pd.DataFrame, faults: _Faults) -> Instants | None:
    if "quote_time" not in quotes or quotes["quote_time"].isna().all():
        return None
    column = quotes["quote_time"]
    instants, bare = read_instants(column)
    _fault_times(column, np.isnat(instants), "quote_time", faults)
    # Where expiries are years, or other rows have a time of day, a midnight is no more than a name or a time.
    if not _in_years(quotes["expiry"]) and bare[~np.isnat(instants)].all():
        faults.add(
            bare,
            Verdict.UNREADABLE,
            lambda row: (
                f"quote_time {str(instants[row])[:10]} is a bare date: add a time of day and its zone, such as "
                "T20:00Z, or call the column session_date if the quotes are of the close of the US exchanges"
            ),
        )
    return instants


def _update_times(quotes: pd.DataFrame) -> Instants:
    if "update_time" not in quotes:
        return np.full(len(quotes), "NaT", "datetime64[us]")
    return read_instants(quotes["update_time"])[0]


def _fault_times(column: pd.Series, unknown: Mask, name: str, faults: _Faults) -> None:
    if not unknown.any():
        return
    blank = is_nothing(column)
    faults.add(unknown & blank, Verdict.MISSING, lambda row: f"{name} is missing")
    faults.add(
        unknown & ~blank,
        Verdict.UNREADABLE,
        lambda row: f"{name} {quoted(str(column.iloc[row]))} is not an ISO 8601 time{_written(column.iloc[row])}",
    )


def _written(cell: object) -> str:
    """What a time that is not understood seems to be, and what to do."""
    text = str(cell)[:100].strip()
    digits = re.fullmatch(r"(\d{9,19})(?:\.0*)?", text)
    if digits and (unit := {10: "s", 13: "ms", 16: "us", 19: "ns"}.get(len(digits[1]))):
        return f': it looks like {_UNITS[unit]} since 1970: use pd.to_datetime(..., unit="{unit}", utc=True)'
    if re.match(r"\d{1,2}[/.]\d{1,2}[/.]\d{2,4}", text):
        return ": day and month cannot be told apart: use pd.to_datetime(..., dayfirst=True or False)"
    return ""


_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def _in_years(column: pd.Series) -> bool:
    """Whether expiries are numbers, and not times: most of the cells that are not empty."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return False
    return 2 * int((~np.isnan(read_numbers(column)[0])).sum()) >= int((~is_nothing(column)).sum())


def _years(quotes: pd.DataFrame, quote_time: Instants | None, faults: _Faults) -> FloatColumn:
    """Time to expiry: a number is years, anything else a time."""
    column = quotes["expiry"]
    if _in_years(column):
        years = _numbers(quotes, "expiry", faults)
        faults.add(np.isnan(years), Verdict.MISSING, lambda row: "expiry is missing")
        faults.add(
            years > LONGEST_EXPIRY,
            Verdict.UNREADABLE,
            lambda row: (
                f"expiry {years[row]:.12g} as a number must be in years, below {LONGEST_EXPIRY:g}"
                f"{_number_written(years[row])}"
            ),
        )
        return years
    if quote_time is None:
        raise QuoteError("column quote_time is missing: add the time of the quotes, or give expiry in years")
    expiry, bare = read_instants(column)
    _fault_times(column, np.isnat(expiry), "expiry", faults)
    settlement = quotes.get("settlement", pd.Series("", quotes.index)).astype(str).str.strip().str.upper()
    # No US option settles at midnight: with a settlement one is a date, also where a zone was put to it.
    local = read_local_times(column)
    dates = bare | is_midnight(expiry) | is_midnight(local)
    for name in ("AM", "PM"):
        rows = dates & settlement.eq(name).to_numpy(bool)
        expiry[rows] = settle_us(np.where(is_midnight(local), local, expiry)[rows], name)
        bare &= ~rows
    faults.add(
        bare,
        Verdict.UNREADABLE,
        lambda row: f"expiry {str(expiry[row])[:10]} is a bare date: add a time of day, or a settlement of AM or PM",
    )
    years = years_between(quote_time, expiry)
    faults.add(
        np.abs(years) > LONGEST_EXPIRY,
        Verdict.UNREADABLE,
        lambda row: (
            f"expiry {str(expiry[row])[:10]} is {abs(years[row]):,.0f} years "
            f"{'after' if years[row] > 0.0 else 'before'} the quote of {str(quote_time[row])[:10]}: "
            "one of them stands for no date, leave the row out"
        ),
    )
    return years


def _number_written(number: float) -> str:
    """What an expiry that is too large for years seems to be, and what to do."""
    if 19_000_101.0 <= number <= 22_001_231.0:
        return ': it looks like a date: use pd.to_datetime(..., format="%Y%m%d"), and add a settlement of AM or PM'
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if 5e8 * scale <= number <= 6e9 * scale:  # of 1985 to 2160
            return f': it looks like {_UNITS[unit]} since 1970: use pd.to_datetime(..., unit="{unit}", utc=True)'
    return ": divide days by 365, or call the column days_to_expiry" if number <= 40_000.0 else ""


def _groups(
    quotes: pd.DataFrame, quote_time: Instants | None, faults: _Faults
) -> tuple[NDArray[np.int64], tuple[QuoteKey, ...]]:
    """Number the (underlying, quote_time) of the rows, sorted."""
    size = len(quotes)
    names = np.zeros(size, int)
    labels: list[str | None] = [None]
    known = np.ones(size, bool)
    if "underlying" in quotes and not is_nothing(quotes["underlying"]).all():
        blank = is_nothing(quotes["underlying"])
        faults.add(blank, Verdict.MISSING, lambda row: "underlying is missing")
        # as objects: an array of texts takes the room of the longest for every one of them
        texts = np.asarray(quotes["underlying"].astype(str).fillna("").tolist(), object)
        unique, names = np.unique(texts, return_inverse=True)
        labels, known = unique.tolist(), ~blank
    times, when = np.zeros(1, "datetime64[us]"), np.zeros(size, int)
    if quote_time is not None:
        times, when = np.unique(quote_time, return_inverse=True)
        known &= ~np.isnat(quote_time)
    group = np.full(size, -1)
    code = names * len(times) + when
    found, group[known] = np.unique(code[known], return_inverse=True)
    stamps = [None if quote_time is None else pd.Timestamp(time, tz="UTC") for time in times]
    return group, tuple((labels[i // len(times)], stamps[i % len(times)]) for i in found.tolist())
