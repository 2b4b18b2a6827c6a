"""CSV files that we write, and what is read back from them: no cell of text begins a formula of a spreadsheet."""

import csv
import re
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

# What a spreadsheet may take for the beginning of a formula, after anything that it passes over: the signs, their wide
# forms, and the white space that some programs drop together with the quotes around a cell.
_FORMULA = re.compile(r"[\s\x00-\x1f\ufeff\u200b]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def write_csv(table: pd.DataFrame, path: str | PathLike[str]) -> None:
    r"""Write a table, without its index, in UTF-8.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, names of columns too; `read_quotes`
    and `jaxcal bulk` take it away again. Numbers stay numbers, a text that is one included. The file is written whole
    before it gets its name.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}")
    try:
        safe = _changed(table, guarded)
        # pandas puts no quotes around a lone carriage return, at which readers end a row
        returns = any("\r" in cell for column in _texts(safe).values() for cell in column)
        quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
        safe.to_csv(unfinished, index=False, quoting=quoting, errors="backslashreplace")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_back(table: pd.DataFrame) -> pd.DataFrame:
    """A table of a CSV file as it was before `write_csv`: without the apostrophes in front of formulas.

    Example:
        >>> read_back(pd.DataFrame({"name": ["'=1+1", "'B"]}))["name"].tolist()
        ['=1+1', "'B"]
    """
    return _changed(table, unguarded)


def guarded(text: str) -> str:
    """A text as a cell that begins no formula; `unguarded` gives it back.

    Example:
        >>> guarded("=1+1"), guarded("'=1+1"), guarded("-1.5"), guarded("B")
        ("'=1+1", "''=1+1", '-1.5', 'B')
    """
    formula = _FORMULA.match(text.lstrip("'")) and not _NUMBER.fullmatch(text)
    return f"'{text}" if formula else text


def unguarded(text: str) -> str:
    """What `guarded` was given.

    Example:
        >>> unguarded("'=1+1"), unguarded("''=1+1"), unguarded("'B")
        ('=1+1', "'=1+1", "'B")
    """
    return text[1:] if text.startswith("'") and guarded(text[1:]) == text else text


def _changed(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """The table with its texts changed, those of its columns' names included; what is no text stays."""
    found = table.copy(deep=False)
    for i, texts in _texts(table).items():
        changed = {text: change(text) for text in texts}
        if any(before != after for before, after in changed.items()):
            cells = [changed[cell] if isinstance(cell, str) else cell for cell in table.iloc[:, i]]
            found.isetitem(i, np.array(cells, object))
    found.columns = pd.Index([change(name) if isinstance(name, str) else name for name in table.columns])
    return found


def _texts(table: pd.DataFrame) -> dict[int, set[str]]:
    """The different texts of every column that has any, by its place."""
    found = {}
    for i, (_, column) in enumerate(table.items()):
        if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
            continue
        if texts := {cell for cell in column.unique() if isinstance(cell, str)}:
            found[i] = texts
    return found
