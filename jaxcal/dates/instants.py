"""Clock: instants, and years between them."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Instants = np.ndarray  # datetime64[us], UTC; NaT where unknown

NEW_YORK = "America/New_York"
DERIBIT_SETTLEMENT = timedelta(hours=8)  # UTC

_OFFSET = r"(:\d\d(?:\.\d+)?)[+-]\d\d(?::?\d\d)?$"  # of a zone, behind a time of day
_YEAR = np.timedelta64(365 * 86400 * 1_000_000, "us")


def years_between(start: Instants, end: Instants) -> NDArray[np.float64]:
    """Years from start to end, actual/365 to the second; NaN where either is unknown.

    Example:
        >>> day = np.array(["2026-01-01", "2027-01-01"], "datetime64[us]")
        >>> print(years_between(day[:1], day[1:]))
        [1.]
    """
    return (end - start) / _YEAR


def years_since_1970(time: "float | str | datetime | np.datetime64 | pd.Timestamp") -> float:
    """An instant as years, actual/365; a number is years already, NaN stands for an unknown time.

    Raises:
        ValueError: it cannot be read as a time.

    Example:
        >>> years_since_1970("1971-01-01T00:00:00Z"), years_since_1970(2.5)
        (1.0, 2.5)
    """
    if isinstance(time, float | int):
        return float(time)
    try:
        stamp = pd.Timestamp(time)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{time!r} is no time: {error}") from None
    if stamp is pd.NaT:
        return float("nan")
    zoned = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp
    return zoned.timestamp() / (365 * 86400)


def read_instants(column: pd.Series) -> tuple[Instants, NDArray[np.bool_]]:
    """Instants of a column of timestamps or ISO 8601 texts; times without a zone are UTC.

    Args:
        column: `[n]` datetimes, or texts.

    Returns:
        instants: `[n]`, NaT where missing or not understood.
        bare: `[n]` whether only a date is given: a text without a time of day, or a midnight without a zone, which is
            how spreadsheets write a date.

    Example:
        >>> texts = ["2026-01-30", "2026-01-30 00:00:00", "2026-01-30T00:00Z", "2026-01-30T08:00:00", "soon"]
        >>> instants, bare = read_instants(pd.Series(texts))
        >>> print(instants.astype("datetime64[h]")[2:], bare)
        ['2026-01-30T00' '2026-01-30T08'           'NaT'] [ True  True False False False]
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _utc(column), np.zeros(len(column), bool)
    if pd.api.types.is_datetime64_any_dtype(column):
        instants = _utc(column)
        return instants, is_midnight(instants)
    # 20260130.0 is what pandas makes of a column of 20260130 with empty cells
    texts = column.astype(str).str.strip().str.replace(r"^(\d{8})\.0$", r"\1", regex=True)
    instants = _utc(pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601"))
    zoned = texts.str.contains(r"(?:[Zz]|[+-]\d\d:?(?:\d\d)?)$", regex=True) & (texts.str.len() > 10)
    return instants, is_midnight(instants) & ~zoned.to_numpy(bool)


def read_local_times(column: pd.Series) -> Instants:
    """The times of a column as they are written, whatever their zone: `[n]`, NaT where missing or not understood.

    Example:
        >>> print(read_local_times(pd.Series(["2026-01-30T00:00:00-05:00"])))
        ['2026-01-30T00:00:00.000000']
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return _utc(column.dt.tz_localize(None))
    if pd.api.types.is_datetime64_any_dtype(column):
        return _utc(column)
    return read_instants(column.astype(str).str.strip().str.replace(_OFFSET, r"\1", regex=True))[0]


def is_midnight(instants: Instants) -> NDArray[np.bool_]:
    """`[n]` whether it is 00:00 UTC; not where the instant is unknown.

    Example:
        >>> print(is_midnight(np.array(["2026-01-30", "2026-01-30T08:00", "NaT"], "datetime64[us]")))
        [ True False False]
    """
    return instants == instants.astype("datetime64[D]")  # NaT is not equal to itself


def settle_local(dates: np.ndarray, time: timedelta) -> Instants:
    """The instants of this time of day in New York, on these dates.

    Example:
        >>> days = np.array(["2026-01-16", "2026-07-17"], "datetime64[D]")
        >>> print(settle_local(days, timedelta(hours=16)).astype("datetime64[h]"))
        ['2026-01-16T21' '2026-07-17T20']
    """
    unique, inverse = np.unique(dates.astype("datetime64[us]"), return_inverse=True)
    local = pd.DatetimeIndex(unique).normalize() + time
    return _utc(local.tz_localize(NEW_YORK).to_series())[inverse]


def first_of_poll(
    instants: Instants,
    *,
    gap: timedelta = timedelta(minutes=2),
    length: timedelta = timedelta(minutes=15),
) -> Instants:
    """The start of the poll to which each instant belongs.

    A venue that is asked for one instrument after another stamps each answer with its own time. Instants that
    follow one another within `gap` are one poll, as long as the poll lasts no longer than `length`.

    Args:
        instants: `[n]` of one underlying, in any order.
        gap: largest step inside a poll.
        length: longest poll.

    Returns:
        `[n]`, NaT where the instant is.

    Example:
        >>> polled = np.array(["2026-01-01T00:00", "2026-01-01T00:01", "2026-01-01T00:30"], "datetime64[us]")
        >>> print(first_of_poll(polled).astype("datetime64[m]"))
        ['2026-01-01T00:00' '2026-01-01T00:00' '2026-01-01T00:30']
    """
    unique, inverse = np.unique(instants, return_inverse=True)
    first = unique.copy()
    for i in range(1, len(unique)):  # a few hundred distinct times at most
        if unique[i] - unique[i - 1] <= np.timedelta64(gap) and unique[i] - first[i - 1] <= np.timedelta64(length):
            first[i] = first[i - 1]
    return first[inverse]


def _utc(column: pd.Series) -> Instants:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return column.to_numpy("datetime64[us]", copy=True)  # a view of a frame is read-only
