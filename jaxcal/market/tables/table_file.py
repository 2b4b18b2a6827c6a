"""A quote table in a file: read, its layout recognised, the tidy table out."""

import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from jaxcal.market.tables import text_table, workbook
from jaxcal.market.tables.csv_file import read_back
from jaxcal.market.tables.file_limits import UnreadableFileError, oversize
from jaxcal.market.tables.headers import collision, with_known_names
from jaxcal.market.tables.layouts import LAYOUTS, Layout, recognise
from jaxcal.market.tables.sentences import listed, one_line, quoted, shown
from jaxcal.market.tables.text_table import TextTable
from jaxcal.market.tables.workbook import read_workbook


class QuoteError(ValueError):
    """A quote file or table that cannot be used at all; the sentence names the column and the remedy.

    It is one printable line of less than 500 letters, whatever the file holds.

    Example:
        >>> from jaxcal.market.surface import Surface
        >>> Surface.from_quotes(pd.DataFrame({"strike": [100.0], "iv": [0.2]}))
        Traceback (most recent call last):
        jaxcal.market.tables.table_file.QuoteError: ...
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence))


class NoQuoteError(QuoteError):
    """A file that can be read and holds no quote of an option: a list of instruments, someone's notes."""


ENDINGS = (*text_table.ENDINGS, ".parquet", ".pq", *workbook.ENDINGS)
_TIMES = ("quote_time", "snapshot_ts", "session_date")


def read_table(path: Path, venue: str | None, time: pd.Timestamp | None, sheet: str | None) -> pd.DataFrame:
    r"""The tidy table of a file that holds a table; the arguments as those of `read_quotes`.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("T,strike,iv\n0.5,100,0.2\n")
        >>> read_table(path, None, None, None)
           expiry  strike   iv
        0     0.5     100  0.2
    """
    table = with_known_names(_read_file(path, sheet).reset_index(drop=True))
    if time is not None:
        table = filled(table, time)
    layout = layout_of(table, venue)
    if not len(table):
        raise QuoteError(f"the file has no rows, only the columns {listed(table.columns)}")
    try:
        return layout.to_tidy(table)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise QuoteError(f"{shown(path.name)} is not a table of the {layout.name} layout: {error}") from None


def layout_of(table: pd.DataFrame, venue: str | None = None) -> Layout:
    """The layout of a table whose columns have the names that layouts know (`with_known_names`).

    Raises:
        QuoteError: none has these columns, or the one of this name lacks some, or two columns are one.

    Example:
        >>> layout_of(pd.DataFrame({"T": [0.5], "strike": 9.0, "iv": 0.2})).name
        'published'
    """
    if twice := collision(table.columns):
        raise QuoteError(twice)
    columns = listed(table.columns, 120)
    if {"side", "level"} <= set(table.columns):
        raise QuoteError(f"the file holds order-book levels: use merge_books on its table; columns found: {columns}")
    known = "; ".join(f"{layout.name} ({', '.join(layout.required)})" for layout in LAYOUTS.values())
    if venue is not None and venue not in LAYOUTS:
        raise QuoteError(f"venue {quoted(venue)} is not known; known layouts, with the columns each needs: {known}")
    layout = recognise(table.columns) if venue is None else LAYOUTS[venue]
    if layout is None:
        raise QuoteError(
            f"the layout of the file is not known; columns found: {columns}; "
            f"known layouts, with the columns each needs: {known}"
        )
    if missing := layout.missing(table.columns):
        raise QuoteError(f"the {layout.name} layout needs the columns {', '.join(missing)}; columns found: {columns}")
    return layout


def time_given(given: pd.Timestamp | str) -> pd.Timestamp:
    """The time of the quotes that a caller gives, in UTC where it has no zone.

    Raises:
        QuoteError: it is no time, or a date without a time of day.

    Example:
        >>> time_given("2026-03-11T14:30")
        Timestamp('2026-03-11 14:30:00+0000', tz='UTC')
    """
    try:
        time = pd.Timestamp(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise QuoteError(f"quote_time {quoted(given)} is no time: {error}") from None
    if time is pd.NaT:
        raise QuoteError("quote_time is no time")
    if isinstance(given, str) and len(given.strip()) <= 10:
        raise QuoteError(f"quote_time {quoted(given)} is a bare date: add a time of day, as in 2026-03-11T14:30:00Z")
    return time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")


def filled(table: pd.DataFrame, time: pd.Timestamp) -> pd.DataFrame:
    """The table with this time where it has none.

    Raises:
        QuoteError: it has times of its own in every row.

    Example:
        >>> filled(pd.DataFrame({"strike": [100.0]}), pd.Timestamp("2026-03-11T14:30Z"))["quote_time"].tolist()
        [Timestamp('2026-03-11 14:30:00+0000', tz='UTC')]
    """
    own = next((name for name in _TIMES if name in table and table[name].notna().any()), None)
    if own is None:
        return table.assign(quote_time=time)
    if table[own].notna().all():
        raise QuoteError(f"quote_time is given, and the file has times of its own in column {own}: leave one out")
    return table.assign(**{own: table[own].astype(object).where(table[own].notna(), str(time))})


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, page_checksum_verification=True)  # of pages that have checksums
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UnreadableFileError(f"it is no parquet file, or is damaged: {one_line(str(error), 200)}") from None


def _read_file(path: Path, sheet: str | None) -> pd.DataFrame:
    name = path.name.lower()
    too_large = oversize(path)  # an OSError where there is no such file
    if too_large:
        raise QuoteError(f"{shown(path.name)}: {too_large}")
    if not name.endswith(ENDINGS):
        raise QuoteError(
            f"{shown(path.name)}: only .csv, .csv.gz, .parquet, .tsv, .txt, .xlsx, .json and .jsonl files are read"
        )
    if sheet is not None and not name.endswith(workbook.ENDINGS):
        raise QuoteError(f"{shown(path.name)} is no workbook: it has no sheet {quoted(sheet)}")
    try:
        with path.open("rb"):  # what follows is the fault of the file
            pass
        if name.endswith((".parquet", ".pq")):
            return _read_parquet(path)
        return read_workbook(path, sheet) if name.endswith(workbook.ENDINGS) else read_back(TextTable.of(path).read())
    except (PermissionError, FileNotFoundError):
        raise
    except pd.errors.ParserWarning:
        raise QuoteError(f"{shown(path.name)} is not a CSV table: its rows have more cells than its header") from None
    except (EOFError, zlib.error, OSError) as error:
        raise QuoteError(f"{shown(path.name)} is damaged: {error}") from None
    except pd.errors.EmptyDataError:
        raise QuoteError(f"{shown(path.name)} is empty: it has neither columns nor rows") from None
    except (pd.errors.ParserError, UnicodeError) as error:
        raise QuoteError(f"{shown(path.name)} is not a CSV table: {error}") from None
    except UnreadableFileError as error:
        raise QuoteError(error.of(shown(path.name))) from None
    except (ValueError, TypeError, OverflowError, KeyError, NotImplementedError, pa.ArrowException) as error:
        raise QuoteError(f"{shown(path.name)} cannot be read: {error}") from None
