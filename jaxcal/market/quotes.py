"""The quote table: a file in, the tidy table out."""

import warnings
import zlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import pandas as pd

from jaxcal.market.csv_file import read_back
from jaxcal.market.file_limits import oversize
from jaxcal.market.layouts import LAYOUTS, recognise


class QuoteError(ValueError):
    """A quote file or table that cannot be used at all; the sentence names the column and the remedy.

    Example:
        >>> from jaxcal.market.surface import Surface
        >>> Surface.from_quotes(pd.DataFrame({"strike": [100.0], "iv": [0.2]}))
        Traceback (most recent call last):
        jaxcal.market.quotes.QuoteError: ...
    """


class NoQuoteError(QuoteError):
    """A file that can be read and holds no quote of an option: a list of instruments, someone's notes.

    Example:
        >>> raise NoQuoteError("notes.json: 0 of 1 entries are options' quotes")
        Traceback (most recent call last):
        jaxcal.market.quotes.NoQuoteError: notes.json: 0 of 1 entries are options' quotes
    """


_TABLE_ENDINGS = (".csv", ".csv.gz", ".txt", ".parquet", ".pq")
# Readers of files that are no tables, by their endings; those of venues are added by the package itself.
_READERS: dict[str, Callable[[Path], pd.DataFrame | None]] = {}


def register_reader(endings: tuple[str, ...], reader: Callable[[Path], pd.DataFrame | None]) -> None:
    """Let `read_quotes` read files with these endings (lower case) by this function, which gives a tidy table.

    Where it gives None, the file is not for it, and is read like any other.

    Example:
        >>> import pandas as pd
        >>> from jaxcal.market.quotes import read_quotes, register_reader
        >>> register_reader((".example",), lambda path: pd.DataFrame({"expiry": [0.5], "strike": [9.0], "iv": [0.2]}))
        >>> len(read_quotes("chain.example"))
        1
    """
    _READERS.update(dict.fromkeys(endings, reader))


def file_endings() -> tuple[str, ...]:
    """How the names of files end that `read_quotes` reads, lower case.

    Example:
        >>> from jaxcal.market.quotes import file_endings
        >>> ".parquet" in file_endings()
        True
    """
    return tuple(dict.fromkeys((*_TABLE_ENDINGS, *_READERS)))


def read_registered(path: Path) -> pd.DataFrame | None:
    r"""The tidy table of a file that is for a registered reader; None of any other.

    Raises:
        QuoteError: what the reader says.
        OSError: there is no such file, or it may not be read.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxcal.market.quotes import read_registered
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("expiry,strike,iv\n0.5,100,0.2\n")
        >>> read_registered(path) is None
        True
    """
    name = path.name.lower()
    ending = max((ending for ending in _READERS if name.endswith(ending)), key=len, default=None)
    return None if ending is None else _READERS[ending](path)


def read_quotes(path: str | PathLike[str], venue: str | None = None) -> pd.DataFrame:
    r"""Read a file of option quotes into the tidy table.

    Args:
        path: a CSV file (also `.csv.gz`), a parquet file, or what Deribit's public interface answered (`.json`,
            `.jsonl`, also `.gz`; see `read_deribit`), or Cboe's table of delayed quotes (see `read_cboe`).
        venue: the layout of the file: `"tidy"`, `"deribit"`, `"us"` or `"published"`; recognised by the columns
            if absent. On Deribit `underlying_price` is the forward of the expiry and prices are in coin; in the US
            files it is spot, expiries are bare dates, and the publisher's volatility is kept as `published_iv`.

    Returns:
        The tidy table, one row a quote; the index is the position in the file, from 0. Numbers are not checked
        here: `inspect_quotes` does that row by row.

    Raises:
        QuoteError: the file is empty, damaged, too large to be read whole, or in none of these layouts; the message
            lists its columns.
        OSError: there is no such file, or it may not be read.

    Example:
        >>> import tempfile, pathlib
        >>> from jaxcal.market.quotes import read_quotes
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("T,strike,iv,underlying_price\n0.5,100,0.2,101\n")
        >>> read_quotes(path)
           expiry  strike   iv  spot
        0     0.5     100  0.2   101
    """
    file = Path(path)
    if (tidy := read_registered(file)) is not None:
        return tidy
    table = _read_file(file).reset_index(drop=True)
    columns = ", ".join(map(str, table.columns))
    if {"side", "level"} <= set(table.columns):
        raise QuoteError(f"the file holds order-book levels: use merge_books on its table; columns found: {columns}")
    if not len(table):
        raise QuoteError(f"the file has no rows, only the columns {columns}")
    known = "; ".join(f"{layout.name} ({', '.join(layout.required)})" for layout in LAYOUTS.values())
    if venue is not None and venue not in LAYOUTS:
        raise QuoteError(f"venue {venue!r} is not known; known layouts, with the columns each needs: {known}")
    layout = recognise(table.columns) if venue is None else LAYOUTS[venue]
    if layout is None:
        raise QuoteError(
            f"the layout of the file is not known; columns found: {columns}; "
            f"known layouts, with the columns each needs: {known}"
        )
    if missing := layout.missing(table.columns):
        raise QuoteError(f"the {layout.name} layout needs the columns {', '.join(missing)}; columns found: {columns}")
    return layout.to_tidy(table)


def _read_file(path: Path) -> pd.DataFrame:
    name = path.name.lower()
    if too_large := oversize(path):
        raise QuoteError(f"{path.name}: {too_large}")
    if name.endswith((".parquet", ".pq")):
        return pd.read_parquet(path, page_checksum_verification=True)  # of pages that have checksums
    if not name.endswith((".csv", ".csv.gz", ".txt")):
        raise QuoteError(f"{path.name}: only .csv, .csv.gz, .parquet, .json and .jsonl files are read")
    try:
        with warnings.catch_warnings():
            # Without index_col pandas takes the first cells of rows that are longer than the header for an index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return read_back(pd.read_csv(path, low_memory=False, index_col=False))
    except pd.errors.ParserWarning:
        raise QuoteError(f"{path.name} is not a CSV table: its rows have more cells than its header") from None
    except (EOFError, zlib.error) as error:
        raise QuoteError(f"{path.name} is damaged: {error}") from None
    except pd.errors.EmptyDataError:
        raise QuoteError(f"{path.name} is empty: it has neither columns nor rows") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise QuoteError(f"{path.name} is not a CSV table: {' '.join(str(error).split())}") from None
