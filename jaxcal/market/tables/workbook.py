"""read_workbook: the table of quotes in an Excel workbook."""

import datetime as dt
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
from python_calamine import CalamineWorkbook

from jaxcal.market.tables.file_limits import UnreadableFileError
from jaxcal.market.tables.headers import collision, known_name
from jaxcal.market.tables.layouts import recognise
from jaxcal.market.tables.sentences import listed, one_line, quoted

ENDINGS = (".xlsx", ".xlsm")
LARGEST = 256 << 20  # bytes unpacked
MOST_CELLS = 20_000_000  # of the smallest rectangle around all cells of a sheet: that is what is laid out in memory
_PREAMBLE = 20  # rows that may stand above the header
_PIECE = 1 << 20
# What `zipfile` raises of an archive that is none.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError, OverflowError)
_PLACE = re.compile(rb"""\sr\s*=\s*["']([A-Z]{1,3})(\d{1,7})""")


def read_workbook(path: Path, sheet: str | None = None) -> pd.DataFrame:
    """Read a sheet of a workbook: values alone, no formula is evaluated and no link is followed.

    Args:
        path: an `.xlsx` file.
        sheet: its name; by default the only sheet that has a header of quotes within its first rows.

    Returns:
        The rows below the header. Columns of dates are timestamps without a zone, empty cells are None.

    Raises:
        UnreadableFileError: it is no workbook, is damaged or too large, or the sheet cannot be told; a sentence.
        OSError: it cannot be opened.
    """
    _check_size(path)
    try:
        with CalamineWorkbook.from_path(str(path)) as book:
            names = list(book.sheet_names)
            if sheet is not None and sheet not in names:
                raise UnreadableFileError(f"it has no sheet {quoted(sheet)}, only {listed(names)}")
            chosen = names if sheet is None else [sheet]
            rows = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=True) for name in chosen}
    except (UnreadableFileError, OSError, MemoryError):
        raise
    except BaseException as error:  # of Rust: what it cannot read, it says by exceptions of its own
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        raise UnreadableFileError(f"it is no workbook that can be read: {one_line(str(error), 200)}") from None
    headers = {name: _header(table) for name, table in rows.items()}
    found = [name for name, place in headers.items() if place is not None]
    if len(found) > 1:
        raise UnreadableFileError(
            f"sheets {listed(map(quoted, found))} all hold quotes: choose one, with sheet= or --sheet"
        )
    filled = [name for name in chosen if any(any(cell != "" for cell in row) for row in rows[name])]
    if not found and len(filled) != 1:
        if not filled:
            raise UnreadableFileError("it is empty: no sheet has a cell")
        raise UnreadableFileError(
            f"none of its sheets {listed(map(quoted, filled))} has a header with the columns of a quote table, such as "
            "expiry, strike, bid, ask"
        )
    name = (found or filled)[0]
    return _table(rows[name], headers[name] or 0)


def _check_size(path: Path) -> None:
    """Unpack all of it once, to see that it is whole, and how large: a workbook is a zip archive of XML."""
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                row = column = 0
                sheet, rest = "worksheets/" in member.filename, b""
                with archive.open(member) as stream:
                    while piece := stream.read(_PIECE):
                        total += len(piece)
                        if total > LARGEST:
                            raise UnreadableFileError(
                                f"it holds more than {LARGEST >> 20} MiB unpacked: save it as CSV"
                            )
                        for letters, digits in _PLACE.findall(rest + piece) if sheet else ():
                            row, column = max(row, int(digits)), max(column, _number_of(letters))
                        rest = piece[-40:]
                if row * column > MOST_CELLS:
                    raise UnreadableFileError(
                        f"its cells reach to row {row:,} and column {column:,}, too far apart to be read: save the "
                        "quotes alone, or as CSV"
                    )
    except _DAMAGED as error:
        raise UnreadableFileError(f"it is no Excel workbook, or is damaged: {one_line(str(error), 200)}") from None


def _number_of(letters: bytes) -> int:
    """The column of these letters: A is 1, AA 27."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number


def _header(rows: list[list[Any]]) -> int | None:
    """The row with the names of a layout's columns, if one of the first is."""
    for place, row in enumerate(rows[:_PREAMBLE]):
        if recognise(pd.Index([str(known_name(cell)) for cell in row if isinstance(cell, str)])) is not None:
            return place
    return None


def _table(rows: list[list[Any]], header: int) -> pd.DataFrame:
    names = [str(known_name(cell)) if cell != "" else "" for cell in rows[header]]
    if twice := collision(rows[header]):
        raise UnreadableFileError(twice)
    below = [row for row in rows[header + 1 :] if any(cell != "" for cell in row)]
    return pd.DataFrame({name: _column([row[i] for row in below]) for i, name in enumerate(names) if name.strip()})


def _column(cells: list[Any]) -> pd.Series:
    """Timestamps where all cells are; else the cells, dates among texts as ISO 8601."""
    given = [None if cell == "" else cell for cell in cells]
    kinds = {type(cell) for cell in given if cell is not None}
    if kinds and kinds <= {dt.datetime, dt.date}:
        return pd.Series(pd.to_datetime(pd.Series(given, dtype=object)).astype("datetime64[us]"))
    if kinds <= {float, int}:
        return pd.Series(given, dtype=float)
    return pd.Series([_iso(cell) if isinstance(cell, dt.date) else cell for cell in given], dtype=object)


def _iso(time: dt.date) -> str:
    midnight = not isinstance(time, dt.datetime) or time.time() == dt.time()
    return f"{time:%Y-%m-%d}" if midnight else time.isoformat()
