"""The trading days of the US exchanges: holidays, early closes, and the last time at which the market was open."""

from datetime import timedelta
from functools import lru_cache

import holidays
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.dates.instants import NEW_YORK, Instants, settle_local

Days = np.ndarray  # datetime64[D]
_KNOWN = (1970, 2100)  # years; outside them only weekends are known

OPEN, CLOSE, EARLY_CLOSE = timedelta(hours=9, minutes=30), timedelta(hours=16), timedelta(hours=13)


@lru_cache(maxsize=4)
def holidays_of(first: int, last: int) -> tuple[Days, Days]:
    """Days of these years on which the New York Stock Exchange is closed, and on which it closes at 13:00.

    The options exchanges keep its calendar. Rules of the future are those of today, by the library `holidays`.

    Example:
        >>> closed, early = holidays_of(2025, 2025)
        >>> print(closed[:4], early[0])
        ['2025-01-01' '2025-01-09' '2025-01-20' '2025-02-17'] 2025-07-03
    """
    years = range(first, last + 1)

    def days(category: str) -> Days:
        found = holidays.NYSE(years=years, categories=(category,))
        return np.array(sorted(day for day in found if day.year in years), "datetime64[D]")

    return days("public"), days("half_day")


def is_session(days: Instants) -> NDArray[np.bool_]:
    """Whether the exchange is open on these days.

    Args:
        days: `[n]` dates, or zoneless instants of which the date counts; NaT is no day.

    Example:
        >>> print(is_session(np.array(["2025-04-17", "2025-04-18", "2025-04-19"], "datetime64[D]")))  # Good Friday
        [ True False False]
    """
    dates = days.astype("datetime64[D]")
    return np.is_busday(dates, holidays=_closed(dates))


def session_before(days: Instants, count: int = 0) -> Days:
    """The trading day itself or the last one before it, and `count` trading days before that.

    Example:
        >>> friday = np.array(["2025-04-18"], "datetime64[D]")
        >>> print(session_before(friday), session_before(friday, 1))
        ['2025-04-17'] ['2025-04-16']
    """
    dates = days.astype("datetime64[D]")
    return np.busday_offset(dates, -count, roll="preceding", holidays=_closed(dates))


def closes_early(days: Instants) -> NDArray[np.bool_]:
    """Whether the exchange closes at 13:00 on these days.

    Example:
        >>> print(closes_early(np.array(["2025-11-28", "2025-12-01"], "datetime64[D]")))
        [ True False]
    """
    dates = days.astype("datetime64[D]")
    return np.isin(dates, holidays_of(*_years(dates))[1])


def third_friday(days: Instants) -> Days:
    """The trading day on which monthly options of these days' months expire: the third Friday, or the day before it.

    Example:
        >>> print(third_friday(np.array(["2025-04-03", "2025-05-03"], "datetime64[D]")))
        ['2025-04-17' '2025-05-16']
    """
    months = days.astype("datetime64[M]").astype("datetime64[D]")
    return session_before(np.busday_offset(months, 2, roll="forward", weekmask="Fri"))


def settle_us(dates: Instants, settlement: str) -> Instants:
    """The instants at which US options with these expiry dates settle: `AM` 09:30, `PM` 16:00 New York.

    A date on which the exchange is closed stands for the trading day before it. On a day that closes early, `PM` is
    13:00.

    Example:
        >>> print(settle_us(np.array(["2026-01-16", "2026-07-17"], "datetime64[us]"), "PM").astype("datetime64[h]"))
        ['2026-01-16T21' '2026-07-17T20']
    """
    return close_us(session_before(dates)) if settlement == "PM" else settle_local(session_before(dates), OPEN)


def close_us(days: Instants) -> Instants:
    """The instants at which the exchange closes on these days, 16:00 or 13:00 New York; 16:00 where it is closed.

    Example:
        >>> print(close_us(np.array(["2025-11-28", "2025-12-01"], "datetime64[D]")))
        ['2025-11-28T18:00:00.000000' '2025-12-01T21:00:00.000000']
    """
    early = closes_early(days)
    return np.where(early, settle_local(days, EARLY_CLOSE), settle_local(days, CLOSE))


def last_open(instant: pd.Timestamp) -> pd.Timestamp:
    """The last instant, not after this one, at which the exchange was open: itself, or the close before it.

    Example:
        >>> print(last_open(pd.Timestamp("2024-01-07 10:52", tz="America/New_York")))  # a Sunday
        2024-01-05 21:00:00+00:00
    """
    local = instant.tz_convert(NEW_YORK)
    day = np.array([local.date()], "datetime64[D]")
    opens = settle_local(day, OPEN)[0]
    now = instant.tz_convert("UTC").tz_localize(None).to_datetime64()
    count = 1 if bool(is_session(day)[0]) and now < opens else 0
    close = close_us(session_before(day, count))[0]
    return pd.Timestamp(min(now, close)).tz_localize("UTC")


def _years(dates: Days) -> tuple[int, int]:
    """The years that dates may fall into, in wide steps so that few ranges are ever asked for."""
    known = dates[~np.isnat(dates)].astype("datetime64[Y]").astype(int) + 1970
    low, high = np.clip((known.min() - 1, known.max() + 1), *_KNOWN).tolist() if known.size else (2020, 2020)
    return 10 * (low // 10), 10 * (high // 10) + 9


def _closed(dates: Days) -> Days:
    return holidays_of(*_years(dates))[0]
