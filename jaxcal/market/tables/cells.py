"""Cells: numbers as files write them, to floats."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What stands in a cell that has no value, in lower case; a stop or a dash is what terminals and vendors print.
NOTHING = frozenset({
    "", "-", "--", "---", ".", "..",
    "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2015", "\u2212", "\u2013\u2013", "\u2014\u2014",
    "nan", "-nan", "na", "n/a", "#n/a", "#n/a n/a", "--.--", "<na>", "nat", "none", "null", "nil",
})  # fmt: skip
_BLANKS = " \u00a0\u2007\u2009\u202f"
_GROUPS = {".": f",'\u2019{_BLANKS}", ",": f".'\u2019{_BLANKS}"}  # between thousands, by the sign of the decimals
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-"})
# Euro, pound, yen, rupee, won, rouble, lira, shekel, baht.
_SIGNS = "\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd\u20ba\u20aa\u0e3f"
_MONEY = re.compile(rf"(?<=^)[${_SIGNS}](?=[^$])|(?<=[+-])[${_SIGNS}]|[{_SIGNS}]$")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_LONGEST = 400  # letters of a number: no double has more


def _pattern(decimal: str) -> "re.Pattern[str]":
    groups = re.escape(_GROUPS[decimal])
    point = re.escape(decimal)
    lakhs = r"|[1-9]\d?(?:,\d{2})+,\d{3}" if decimal == "." else ""  # 12,34,567, as India writes it
    return re.compile(
        rf"(?P<sign>[+-]?)(?:(?P<whole>\d+|[1-9]\d{{0,2}}(?P<group>[{groups}])\d{{3}}(?:(?P=group)\d{{3}})*{lakhs})"
        rf"(?:{point}(?P<part>\d*))?|{point}(?P<only>\d+))(?P<power>[eE][+-]?\d{{1,4}})?",
        re.ASCII,
    )


_NUMBERS = {decimal: _pattern(decimal) for decimal in _GROUPS}


def number_of(text: str, decimal: str = ".") -> float:
    r"""The number that a text is; NaN where it is none.

    Thousands may be set apart by the sign that is not the decimal one, by an apostrophe or by a (narrow) blank, always
    the same one, and always three digits after the first (or two and at last three, as in India); a sign of money may
    stand before or behind.

    Args:
        text: a cell.
        decimal: the sign before decimals, "." or ",": a whole file has one of them.

    Example:
        >>> number_of("1,050.5"), number_of("1,050"), number_of("1,050", ","), number_of("$1'050"), number_of("1,05")
        (1050.5, 1050.0, 1.05, 1050.0, nan)
        >>> number_of("1,05,000"), number_of("25%")
        (105000.0, nan)
    """
    if len(text) > _LONGEST + 200:
        return np.nan
    plain = _MONEY.sub("", text.strip().translate(_MINUS)).strip()
    match = _NUMBERS[decimal].fullmatch(plain)
    if match is None:
        return float(plain) if _INFINITE.fullmatch(plain) else np.nan
    found = match.groupdict()
    whole = re.sub(r"\D", "", found["whole"] or "0", flags=re.ASCII)
    return float(f"{found['sign']}{whole}.{found['part'] or found['only'] or 0}{found['power'] or ''}")


def is_nothing(column: pd.Series) -> NDArray[np.bool_]:
    """`[n]` whether a cell holds no value: empty, a dash, a stop, `N/A` and the like.

    Example:
        >>> is_nothing(pd.Series([1.0, None, "-", " n/a ", "x"])).tolist()
        [False, True, True, True, False]
    """
    empty = np.array(column.isna().to_numpy(bool))
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return empty
    return empty | _each(column, _is_nothing, bool)


def read_numbers(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column as floats, and which of its cells hold something that is no number.

    Args:
        column: `[n]` numbers, texts, or both; dates and truth values are no numbers.

    Returns:
        values: `[n]`, NaN where there is none.
        odd: `[n]` whether the cell holds something else.

    Example:
        >>> read_numbers(pd.Series(["7", "1,050.5", "-", "soon", 10**400]))
        (array([   7. , 1050.5,    nan,    nan,    inf]), array([False, False, False,  True, False]))
    """
    kind = column.dtype
    if pd.api.types.is_bool_dtype(kind) and not isinstance(kind, pd.CategoricalDtype):
        return np.full(len(column), np.nan), ~np.array(column.isna().to_numpy(bool))
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        values = np.array(column.to_numpy(float, na_value=np.nan))
        return values, np.zeros(len(column), bool)
    values = _each(column, _number, float)
    odd = np.isnan(values)
    odd[odd] = ~is_nothing(column[odd])
    return values, odd


def as_numbers(column: pd.Series) -> pd.Series:
    """The column with numbers for the texts that are some, and nothing for those that stand for nothing.

    Example:
        >>> as_numbers(pd.Series(["1,050.5", "-"])).tolist(), as_numbers(pd.Series(["7", "soon"])).tolist()
        ([1050.5, nan], [7.0, 'soon'])
    """
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column
    values, odd = read_numbers(column)
    numbers = pd.Series(values, column.index)
    return numbers.astype(object).where(~odd, column.astype(object)) if odd.any() else numbers


def to_digits(values: NDArray[np.float64], digits: int = 12) -> NDArray[np.float64]:
    """Numbers rounded to so many significant digits, so that those are equal which arithmetic has moved by a rounding.

    Example:
        >>> to_digits(np.asarray([100.00000000000001, 0.1 + 0.2, 0.0, np.inf])).tolist()
        [100.0, 0.3, 0.0, inf]
    """
    known = np.isfinite(values) & (values != 0)
    size = np.floor(np.log10(np.abs(np.where(known, values, 1.0))))
    scale = 10.0 ** np.clip(digits - 1 - size, -300, 300)
    rounded = np.round(np.where(known, values, 0.0) * scale) / scale
    return np.where(known & np.isfinite(rounded), rounded, values)


def _each(column: pd.Series, read: Callable[[Any], Any], kind: type) -> np.ndarray:
    """A function of every cell; of texts that recur, once."""
    cells = column.to_numpy(object)
    if pd.api.types.infer_dtype(cells, skipna=True) != "string":  # 1 and True would be one
        return np.array([read(cell) for cell in cells], kind)
    codes, unique = pd.factorize(cells, use_na_sentinel=False)
    return np.array([read(cell) for cell in unique], kind)[codes]


def _is_nothing(cell: Any) -> bool:
    if isinstance(cell, str):
        return len(cell) < 40 and cell.strip(_BLANKS + "\t\r\n").lower() in NOTHING
    return cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and cell != cell)


def _number(cell: Any) -> float:
    if isinstance(cell, str):
        return number_of(cell)
    if isinstance(cell, bool | np.bool_) or not isinstance(cell, int | float | np.number | Decimal):
        return np.nan
    try:
        return float(cell)
    except OverflowError:  # an integer of more than 308 digits
        return float("inf") if cell > 0 else -float("inf")
    except (TypeError, ValueError):
        return np.nan
