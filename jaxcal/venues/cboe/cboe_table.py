"""Cboe: the downloadable table of delayed quotes as a quote table, every row accounted for."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from jaxcal.dates.us_calendar import last_open
from jaxcal.dates.us_roots import exercise_of, settlement_of, underlying_of
from jaxcal.market.tables.file_limits import oversize
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.venues.cboe.cboe_stamp import page_time
from jaxcal.venues.json_file import shown

ENDINGS = (".csv", ".csv.gz", ".txt")
DELAY = timedelta(minutes=15)  # of the page's quotes
_SYMBOL = re.compile(r"(?P<root>[A-Z]{1,5}\d?) *(?P<date>\d{6})(?P<side>[CP])(?P<strike>\d{8})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d*)?(?:[eE][+-]?\d{1,2})?|[+-]?\.\d+", re.ASCII)
_DATES = ("%a %b %d %Y", "%m/%d/%Y", "%Y-%m-%d", "%b %d %Y", "%d-%m-%y", "%d/%m/%Y")
# Our column: the names that pages have had for it.
_COLUMNS = {
    "last": ("Last Sale", "Last"),
    "bid": ("Bid",),
    "ask": ("Ask",),
    "volume": ("Volume", "Vol"),
    "published_iv": ("IV",),
    "delta": ("Delta",),
    "gamma": ("Gamma",),
    "open_interest": ("Open Interest", "Open Int"),
}
_NEEDED = ("bid", "ask")
_MOST_PREAMBLE = 10  # lines before the header
_LARGEST = 1e9


@dataclass(frozen=True)
class CboePage:
    """What stands above the table of a page.

    Attributes:
        name: of the index or stock, as the page has it.
        spot: its last price, NaN where there is none.
        stamp: when the page was made; None if missing or unreadable.
    """

    name: str
    spot: float
    stamp: pd.Timestamp | None


def read_cboe(
    path: str | PathLike[str], *, quote_time: pd.Timestamp | str | None = None, delay: timedelta = DELAY
) -> pd.DataFrame:
    """Read a table of delayed quotes of Cboe (`spx_quotedata.csv`): a call and a put side by side at every strike.

    Args:
        path: the file as downloaded, `.csv` or `.csv.gz`.
        quote_time: the time of the quotes, UTC where it has no zone; by default the time on the page less the delay,
            or the last close before that where the market was shut.
        delay: of the quotes, against the time on the page.

    Returns:
        The tidy table: for every row of the file its call, then its put. Expiries are dates, with `settlement` `AM` or
        `PM` by the root; `exercise` by the root; the page's volatility is kept as `published_iv`, which no fit uses.
        The column `fault` says why a row is not a quote: a symbol that contradicts its row or is unreadable, a cell
        that is not a number, a missing cell, an option adjusted for a corporate action.

    Raises:
        QuoteError: the file is not such a table, is damaged or too large, or its time is unreadable and not given.
        OSError: it cannot be opened.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "spx_quotedata.csv"
        >>> side = "Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
        >>> _ = path.write_text('''
        ... Standard & Poors 500 Index,Last: 4697.24,Change:  8.56
        ... "Date: January 7, 2024 at 10:52 AM EST",Bid: 4686,Ask: 4709,Size: 1*1,Volume: 0
        ... ''' + f"Expiration Date,Calls,{side},Strike,Puts,{side}" + '''
        ... Fri Feb 16 2024,SPX240216C04700000,0,0,71.2,71.8,0,0,0,0,0,4700,SPX240216P04700000,0,0,53,53.6,0,0,0,0,7
        ... ''')
        >>> quotes = read_cboe(path)
        >>> print(quotes[["underlying", "expiry", "strike", "option_type", "bid", "ask", "settlement"]].to_string())
          underlying     expiry  strike option_type   bid   ask settlement
        0        SPX 2024-02-16  4700.0           C  71.2  71.8         AM
        1        SPX 2024-02-16  4700.0           P  53.0  53.6         AM
        >>> print(quotes["quote_time"][0])
        2024-01-05 21:00:00+00:00
    """
    file = Path(path)
    lines = _lines(file)
    found = _header(lines)
    if found is None:
        raise QuoteError(
            f"{shown(file)} is no table of delayed quotes of Cboe: within its first lines there is no header with "
            "Expiration Date, Calls, Strike and Puts"
        )
    page, header = _page(lines[:found]), next(csv.reader([lines[found]]))
    time = _quote_time(file, page, quote_time, delay)
    table = _table(header, lines[found + 1 :], found + 2, shown(file))
    table.insert(1, "quote_time", time)
    table["spot"] = page.spot
    return table.drop(columns="fault") if table["fault"].eq("").all() else table


def cboe_quotes(path: Path, quote_time: pd.Timestamp | None = None) -> pd.DataFrame | None:
    """The same for `read_quotes`: None where the file does not look like a page of Cboe.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("expiry,strike,iv")
        >>> print(cboe_quotes(path))
        None
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as stream:
            beginning = stream.read(8192).decode("utf-8", errors="replace")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None  # the reader of tables says what is wrong
    return None if _header(beginning.splitlines()) is None else read_cboe(path, quote_time=quote_time)


def _lines(path: Path) -> list[str]:
    if too_large := oversize(path):
        raise QuoteError(f"{shown(path)}: {too_large}")
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as stream:
            whole = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise QuoteError(f"{shown(path)} is damaged: {error}") from None
    try:
        text = whole.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = whole.decode("latin-1")  # of a spreadsheet; what counts is ASCII
    return re.split(r"\r\n|\r|\n", text.replace("\0", " "))


def _header(lines: list[str]) -> int | None:
    """The line with the names of the columns."""
    for i, line in enumerate(lines[: _MOST_PREAMBLE + 1]):
        if "Expiration Date" in line and "Calls" in line and "Puts" in line and "Strike" in line:
            return i
    return None


def _page(lines: list[str]) -> CboePage:
    name, spot = "", np.nan
    text = "\n".join(lines)
    title = next((line for line in lines if line.strip(' ,"')), "")
    cells = next(csv.reader([title]), [])
    if cells:
        name = cells[0].strip()[:80]
    if match := re.search(rf"\bLast: *\"?({_NUMBER.pattern})(?![\d.])", text):
        spot = _number(match.group(1))
    elif len(cells) > 1:  # pages of 2019 have the bare number there
        spot = _number(cells[1])
    return CboePage(name, spot if 0.0 < spot < _LARGEST else np.nan, page_time(text))


def _quote_time(file: Path, page: CboePage, given: pd.Timestamp | str | None, delay: timedelta) -> pd.Timestamp:
    if given is not None:
        try:
            time = pd.Timestamp(given)
        except (TypeError, ValueError) as error:
            raise QuoteError(f"quote_time {given!r} is no time: {error}") from None
        if time is pd.NaT:
            raise QuoteError("quote_time is no time")
        return time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")
    if page.stamp is None:
        raise QuoteError(
            f"{shown(file)} does not say in English when its page was made: use read_cboe with quote_time, or "
            "--quote-time"
        )
    return last_open(page.stamp - delay).as_unit("us")


def _number(text: str) -> float:
    """A cell as a number: NaN where it is none; -inf stands for nothing that a page has."""
    return float(text.replace(",", "")) if _NUMBER.fullmatch(text) else np.nan


def _numbers(cells: pd.Series) -> np.ndarray:
    return cells.map({text: _number(text) for text in cells.unique()}).to_numpy(float)


def _blocks(header: list[str], name: str) -> tuple[dict[str, int], dict[str, int], int, int]:
    """Positions of our columns in the two halves of the header, and of the expiry and the strike."""
    titles = [title.strip() for title in header]
    try:
        expiry, calls, strike, puts = (titles.index(t) for t in ("Expiration Date", "Calls", "Strike", "Puts"))
    except ValueError:
        raise QuoteError(f"{name}: its header lacks Expiration Date, Calls, Strike or Puts as a column") from None
    halves = []
    for start, end in ((calls, puts), (puts, len(titles))):
        half = {"symbol": start}
        for column, names in _COLUMNS.items():
            places = [i for i in range(start + 1, end) if titles[i] in names]
            if len(places) > 1:
                raise QuoteError(f"{name}: its header has {titles[places[0]]} twice for one side")
            if places:
                half[column] = places[0]
        if missing := [_COLUMNS[column][0] for column in _NEEDED if column not in half]:
            raise QuoteError(f"{name}: its header has no {missing[0]} for {titles[start]}")
        halves.append(half)
    return halves[0], halves[1], expiry, strike


def _table(header: list[str], lines: Iterable[str], first: int, name: str) -> pd.DataFrame:
    """Two rows for every line with anything in it."""
    calls, puts, expiry, strike = _blocks(header, name)
    numbered = [(first + i, line) for i, line in enumerate(lines) if line.strip(' ,"\t')]
    if not numbered:
        raise QuoteError(f"{name} has a header and no rows")
    cells = []
    for _, line in numbered:
        try:
            cells.append([cell.strip() for cell in next(csv.reader([line], strict=True))])
        except (csv.Error, StopIteration):
            cells.append([])
    width = len(header)
    lengths = np.array([len(row) for row in cells])
    whole = lengths == width
    grid = pd.DataFrame([row if len(row) == width else [""] * width for row in cells], dtype=object)
    halves = [_half(grid, half, side, expiry, strike) for half, side in ((calls, "C"), (puts, "P"))]
    number = np.array([line for line, _ in numbered])
    for half in halves:
        broken = [f"line {n}: {found} cells, the header has {width}" for n, found in zip(number, lengths, strict=True)]
        fault = np.where(half["fault"].eq(""), "", [f"line {n}: " for n in number] + half["fault"])
        half["fault"] = np.where(whole, fault, broken)
    return pd.concat(halves, keys=[0, 1]).swaplevel().sort_index(kind="stable").reset_index(drop=True)


def _half(grid: pd.DataFrame, places: dict[str, int], side: str, expiry: int, strike: int) -> pd.DataFrame:
    """The calls, or the puts, of all lines."""
    symbols = grid[places["symbol"]].astype(str)
    told = symbols.str.extract(rf"^{_SYMBOL.pattern}$")
    known = {text: _date("%y%m%d", text) for text in told["date"].dropna().unique()}
    dates = [known.get(text) for text in told["date"]]
    half = pd.DataFrame({"underlying": [underlying_of(root) for root in told["root"].fillna("")]})
    half["root"], half["expiry"] = told["root"], pd.Series(np.array(dates, "datetime64[us]"), grid.index)
    half["strike"], half["option_type"] = _numbers(grid[strike]), side
    fault = pd.Series("", grid.index, dtype=object)

    def add(rows: pd.Series | np.ndarray, sentences: pd.Series) -> None:
        nonlocal fault
        fault = fault.where(fault.ne("") | ~np.asarray(rows, bool), sentences)

    quoted = symbols.str[:40]
    add(half["expiry"].isna(), "symbol '" + quoted + "' is no symbol of an option, such as SPXW240119C04700000")
    add(told["root"].str.contains(r"\d", na=False), "symbol '" + quoted + "' is of an option that was adjusted")
    add(
        told["side"].ne(side), "symbol '" + quoted + f"' stands on the side of the {'calls' if side == 'C' else 'puts'}"
    )
    row_dates = grid[expiry].astype(str)
    same = pd.Series([_says(text, date) for text, date in zip(row_dates, dates, strict=True)], grid.index)
    add(~same, "symbol '" + quoted + "' contradicts the date '" + row_dates.str[:40] + "' of its row")
    of_symbol = pd.to_numeric(told["strike"], errors="coerce") / 1000.0
    add(half["strike"].ne(of_symbol), "symbol '" + quoted + "' contradicts the strike '" + grid[strike].str[:40] + "'")
    for column, place in places.items():
        if column == "symbol":
            continue
        texts = grid[place].astype(str)
        values = _numbers(texts)
        half[column] = values
        if column in ("bid", "ask"):
            add(texts.eq(""), pd.Series(f"{column} is missing", grid.index))
            add(np.isnan(values), f"{column} '" + texts.str[:40] + "' is not a number")
            add(~(np.abs(values) < _LARGEST), f"{column} '" + texts.str[:40] + "' is no price")
    half["exercise"] = exercise_of(half["root"])
    half["settlement"] = settlement_of(half["root"], half["expiry"].to_numpy("datetime64[us]"))
    return half.assign(symbol=symbols, fault=fault.to_numpy(object))


def _date(form: str, text: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _says(text: str, date: datetime | None) -> bool:
    """Whether a cell, in one of the ways of writing dates, is this day."""
    if date is None or not any(_date(form, text) == date for form in _DATES):
        return False
    return not text[:1].isalpha() or text[:3] in (f"{date:%a}", f"{date:%b}")  # strptime reads any day of the week
