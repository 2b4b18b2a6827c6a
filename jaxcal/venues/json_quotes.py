"""json_quotes: the quotes in a file of JSON, whoever wrote it: Deribit, pandas; others are named."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxcal.market.tables.headers import with_known_names
from jaxcal.market.tables.layouts import recognise
from jaxcal.market.tables.table_file import QuoteError, layout_of
from jaxcal.venues.deribit.deribit_table import LARGEST_TABLE, quotes_of
from jaxcal.venues.json_file import is_lines, json_values, shown

# Names of fields that only one venue's API has, and what a table made of its answers must say.
_VENUES = {
    "Bybit": (("retCode", "bid1Iv", "markIv", "bid1Price"), "prices are in money for a coin, '0' is none"),
    "OKX": (
        ("instId", "fwdPx", "bidVol", "instFamily"),
        "currency_of_price is coin for BTC-USD, '0' is none",
    ),
    "Binance": (("markIV", "bidIV", "exercisePrice", "riskFreeInterest"), "prices are in money, '-1.0' is none"),
    "Derive": (("option_pricing", "option_details", "instrument_ticker"), "prices are in money, '0' is none"),
    "Gate": (("bid1_price", "ask1_iv", "ask1_price"), "prices are in money, one contract is a part of a coin"),
    "Yahoo": (("optionChain", "contractSymbol"), "bid and ask of 0 are none; add exercise and the time of the quotes"),
    "Schwab": (("callExpDateMap", "putExpDateMap"), "exercise is A but for indices, volatilities are in percent"),
    "Cboe": (("option_root", "current_price", "percent_change"), "its CSV page is read as it is"),
}
_MOST_FIELDS = 2000  # that are examined
_TIMES = ("expiry", "quote_time", "snapshot_ts", "session_date")
_EARLIEST, _LATEST = 1_262_304_000_000, 4_102_444_800_000  # ms since 1970: 2010 and 2100


def json_quotes(path: Path) -> pd.DataFrame:
    """The tidy table of a file of JSON: answers of Deribit, or records of a table as `DataFrame.to_json` writes them.

    Raises:
        QuoteError: it is no JSON, or too large, or of another venue: the sentence names it.
        NoQuoteError: there is no quote of an option at all.
        OSError: the file cannot be opened.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.json"
        >>> _ = path.write_text('[{"expiry": 0.5, "strike": 100, "iv": 0.2}]')
        >>> json_quotes(path)["strike"].tolist()
        [100]
        >>> _ = path.write_text('{"retCode": 0, "result": {"list": []}}')
        >>> json_quotes(path)
        Traceback (most recent call last):
        jaxcal.market.tables.table_file.QuoteError: chain.json looks like an answer of Bybit, ...
    """
    values = json_values(path)
    first = next(values, None)
    found = () if first is None else (first,)
    if is_lines(path) and isinstance(first, dict):
        if recognise(with_known_names(pd.DataFrame(columns=list(first))).columns) is not None:
            records = _some(chain(found, values), path)
            return _tidy(pd.DataFrame([row for row in records if isinstance(row, dict)], dtype=object), path)
    elif (table := _table(first)) is not None:
        return _tidy(table, path)
    return quotes_of(path, chain(found, values), lambda: _refuse_foreign(path, first))


def _some(values: Iterable[Any], path: Path) -> Iterator[Any]:
    for count, value in enumerate(values):
        if count >= LARGEST_TABLE:
            raise QuoteError(f"{shown(path)}: more than {LARGEST_TABLE:,} records: split it by time")
        if isinstance(value, ValueError):
            raise QuoteError(f"{shown(path)}: {value}")
        yield value


def _table(value: Any) -> pd.DataFrame | None:
    """A table in one of the forms of `DataFrame.to_json`, if it has the columns of a layout; else None."""
    try:
        if isinstance(value, list):
            if not all(isinstance(row, dict) for row in value[:20]):
                return None
            table = pd.DataFrame([row for row in value if isinstance(row, dict)], dtype=object)
            if len(table) < len(value):
                return None
        elif not isinstance(value, dict):
            return None
        elif {"columns", "data"} <= set(value):
            if any(not isinstance(row, list) or len(row) != len(value["columns"]) for row in value["data"]):
                return None
            table = pd.DataFrame(value["data"], columns=value["columns"], dtype=object)
        elif {"schema", "data"} <= set(value):
            table = pd.DataFrame(value["data"], dtype=object)
        elif value and (
            all(isinstance(part, dict) for part in value.values())
            or all(isinstance(part, list) for part in value.values())
        ):
            table = pd.DataFrame(value, dtype=object)
        else:
            return None
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError):
        return None
    known = with_known_names(table)
    return known if recognise(known.columns) is not None else None


def _tidy(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    known = with_known_names(table.reset_index(drop=True))
    for name in _TIMES:
        if name in known:
            known[name] = _stamped(known[name])
    try:
        return layout_of(known).to_tidy(known)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise QuoteError(f"{shown(path)}: {error}") from None


def _stamped(column: pd.Series) -> pd.Series:
    """Milliseconds since 1970, which pandas writes for a time, as times; of midnights alone as dates."""
    cells = [cell for cell in column if cell is not None and cell == cell]
    if not cells or not all(type(cell) in (int, float) and _EARLIEST <= cell < _LATEST for cell in cells):
        return column
    stamps = pd.Series(
        [pd.NaT if cell is None or cell != cell else cell for cell in column], column.index, dtype=object
    )
    times = pd.to_datetime(pd.to_numeric(stamps, errors="coerce"), unit="ms").astype("datetime64[us]")
    return times if np.all(times.dropna() == times.dropna().dt.normalize()) else times.dt.tz_localize("UTC")


def _refuse_foreign(path: Path, value: Any) -> None:
    names = _fields(value)
    for venue, (fields, convention) in _VENUES.items():
        if names & set(fields):
            raise QuoteError(
                f"{shown(path)} looks like an answer of {venue}, whose JSON is not read: make a table with the columns "
                f"quote_time, expiry, strike, option_type, bid, ask, forward and currency_of_price ({convention}), one "
                "row a contract, and save it as .csv or .parquet"
            )


def _fields(value: Any) -> set[str]:
    """The names in the outer levels of a JSON value."""
    names: set[str] = set()
    waiting, seen = [value], 0
    while waiting and seen < _MOST_FIELDS:
        one = waiting.pop(0)
        seen += 1
        if isinstance(one, dict):
            names.update(list(one)[:200])
            waiting += list(one.values())[:20]
        elif isinstance(one, list):
            waiting += one[:5]
    return names
