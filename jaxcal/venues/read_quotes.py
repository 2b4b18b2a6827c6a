"""The quote table of a file: tables, JSON answers of venues, and pages with a table."""

from os import PathLike
from pathlib import Path

import pandas as pd

from jaxcal.market.tables import table_file
from jaxcal.market.tables.sentences import shown
from jaxcal.market.tables.table_file import QuoteError, filled, read_table, time_given
from jaxcal.venues import json_file
from jaxcal.venues.cboe import cboe_table
from jaxcal.venues.cboe.cboe_table import cboe_quotes
from jaxcal.venues.json_quotes import json_quotes

ENDINGS = tuple(dict.fromkeys((*table_file.ENDINGS, *json_file.ENDINGS, *cboe_table.ENDINGS)))  # that can be read


def read_venue_file(path: Path, time: pd.Timestamp | None = None) -> pd.DataFrame | None:
    r"""The tidy table of a file in a venue's own format; None for a plain table.

    Raises:
        QuoteError: what the reader says.
        OSError: there is no such file, or it may not be read.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("expiry,strike,iv\n0.5,100,0.2\n")
        >>> read_venue_file(path) is None
        True
    """
    name = path.name.lower()
    if name.endswith(json_file.ENDINGS):
        return json_quotes(path)
    return cboe_quotes(path, time) if name.endswith(cboe_table.ENDINGS) else None


def read_quotes(
    path: str | PathLike[str],
    venue: str | None = None,
    *,
    quote_time: pd.Timestamp | str | None = None,
    sheet: str | None = None,
) -> pd.DataFrame:
    r"""Read a file of option quotes into the tidy table.

    Args:
        path: a table of text (`.csv`, `.tsv`, `.txt`, also `.gz`; commas, semicolons, tabs or bars between cells;
            UTF-8, UTF-16 or cp1252), a parquet file, an Excel workbook (`.xlsx`), what Deribit's public API
            answered (`.json`, `.jsonl`, also `.gz`; see `read_deribit`), or Cboe's table of delayed quotes (see
            `read_cboe`).
            Names of columns may be in any case, with blanks, brackets or quotes around.
        venue: the layout of the file: `"tidy"`, `"deribit"`, `"us"` or `"published"`; recognised by the columns
            if absent. On Deribit `underlying_price` is the forward of the expiry and prices are in coin; in the US
            files it is spot, expiries are bare dates, and the publisher's volatility is kept as `published_iv`.
        quote_time: the time of the quotes, UTC without a zone, for a file that does not give it.
        sheet: name of the sheet, for a workbook with several sheets of quotes.

    Returns:
        The tidy table, one row a quote; the index is the position in the file, from 0. Numbers are not checked
        here: `inspect_quotes` does that row by row.

    Raises:
        QuoteError: the file is empty, damaged, of another kind than its name says, too large to be read whole, or in
            none of these layouts; the message lists its columns.
        OSError: there is no such file, or it may not be read.

    Example:
        >>> import tempfile, pathlib
        >>> import jaxcal as jc
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("T;Strike; IV ;underlying_price\n0,5;100;0,2;101\n")
        >>> jc.read_quotes(path)
           expiry  strike   iv   spot
        0     0.5   100.0  0.2  101.0
    """
    file = Path(path)
    if file.is_dir():
        raise QuoteError(f"{shown(file.name)} is a folder: give one file, or jaxcal bulk or replay for all in it")
    time = None if quote_time is None else time_given(quote_time)
    tidy = read_venue_file(file, time)
    if tidy is None:
        return read_table(file, venue, time, sheet)
    return tidy if time is None or tidy["quote_time"].notna().all() else filled(tidy, time)
