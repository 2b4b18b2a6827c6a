"""VarianceClock: business time, in which nights, weekends and holidays count less and events count more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.dates.instants import NEW_YORK, settle_local
from jaxcal.dates.us_calendar import OPEN, close_us, is_session

Years = NDArray[np.float64]

_DAY = 86400.0 * 1e6  # microseconds
_REFERENCE = ("2020-01-01", "2030-01-01")  # over which a year of the clock is a year on average


@dataclass(frozen=True)
class VarianceClock:
    """Business time, hour by hour: weight 1 while the market is open, less while it is shut, more at events.

    The weights determine how much a model fitted in this time moves from Friday's close to Monday's open. Discounts,
    forwards and settlement stay in calendar time. The total variance of a quote does not change: its volatility is
    restated per square root of a year of this clock.

    Attributes:
        night: weight of the time from a close to the open of the next day.
        weekend: weight of the time from the last close before a weekend to the first open after it; where the market
            never shuts, of Saturday and Sunday in UTC.
        holiday: weight of the time from the last close before a holiday to the first open after it, weekends beside it
            included.
        events: times (UTC where they have no zone), and how many average days of variance each adds to all expiries at
            or after it, as pairs or a mapping.
        market: `"us"`, open from 09:30 to 16:00 New York on the days of the stock exchange, until 13:00 on days that
            close early; or `"always"`, which has no nights and no holidays.
        scaled: whether a year of the clock equals a calendar year on average, so that volatilities keep their size;
            otherwise one hour of the open market is an hour.

    Raises:
        ValueError: a weight or the days of an event are negative or not finite, an event has no readable time, or a
            market that never shuts is given nights or holidays.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from jaxcal.dates.variance_clock import VarianceClock
        >>> clock = VarianceClock(weekend=0.0, market="always", scaled=False)
        >>> friday = pd.Timestamp("2026-01-02T00:00Z")
        >>> print(365 * clock.years(friday, np.array([1.0, 3.0, 4.0]) / 365))
        [1. 1. 2.]
    """

    night: float = 1.0
    weekend: float = 1.0
    holiday: float = 1.0
    events: Mapping[Any, float] | Iterable[Any] = ()
    market: str = "us"
    scaled: bool = True

    def __post_init__(self) -> None:
        """Check the settings, and sort the events."""
        for name in ("night", "weekend", "holiday"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} {getattr(self, name)} must be a finite weight, not negative")
        if self.market not in ("us", "always"):
            raise ValueError(f"market {self.market!r} is not known; there are us and always")
        if self.market == "always" and (self.night != 1.0 or self.holiday != 1.0):
            raise ValueError("a market that never shuts has no nights and no holidays: leave their weights at 1")
        pairs: Iterable[Any] = self.events.items() if isinstance(self.events, Mapping) else self.events
        object.__setattr__(self, "events", tuple(sorted(_event(pair) for pair in pairs)))

    def years(self, start: pd.Timestamp, calendar_years: Years) -> Years:
        """The clock's time from an instant to instants that are so many calendar years later.

        Args:
            start: an instant, UTC where it has no zone.
            calendar_years: `[n]` years, actual/365, not negative; NaN stays NaN.

        Returns:
            `[n]` years of this clock.

        Example:
            >>> import numpy as np, pandas as pd
            >>> from jaxcal.dates.variance_clock import VarianceClock
            >>> clock = VarianceClock(events={"2026-01-28T19:00Z": 2.0})
            >>> before = pd.Timestamp("2026-01-27T21:00Z")
            >>> print((365 * clock.years(before, np.array([0.5, 1.0]) / 365)).round(6))
            [0.5 3. ]
        """
        begin = _instant(start)
        elapsed = np.round(np.asarray(calendar_years, float) * 365.0 * _DAY)
        end = begin + np.timedelta64(int(np.nanmax(elapsed, initial=0.0)) + 1, "us")
        knots, weights = self._pieces(begin, end)
        passed = np.concatenate([[0.0], np.cumsum(np.diff(knots) * weights)])
        scale = _mean_weight(self.night, self.weekend, self.holiday, self.market) if self.scaled else 1.0
        found = np.interp(elapsed, knots, passed) / (365.0 * _DAY * scale)
        for time, days in self.events:  # pairs, sorted, by now
            ahead = (_instant(pd.Timestamp(time)) - begin) / np.timedelta64(1, "us")
            found = found + np.where((ahead > 0.0) & (elapsed >= ahead), days / 365.0, 0.0)
        return found

    def _pieces(self, begin: np.datetime64, end: np.datetime64) -> tuple[Years, Years]:
        """Times `[k + 1]` in microseconds from `begin` to beyond `end`, and the weights between them."""
        first = begin.astype("datetime64[D]") - np.timedelta64(10, "D")
        days = np.arange(first, end.astype("datetime64[D]") + np.timedelta64(11, "D"))
        if self.market == "always":
            knots, weights = days.astype("datetime64[us]"), np.where(np.is_busday(days), 1.0, self.weekend)[:-1]
        else:
            days = days[is_session(days)]
            knots = np.stack([settle_local(days, OPEN), close_us(days)], axis=1).ravel()
            between = np.diff(days).astype(int)
            shut = np.busday_count(days[:-1], days[1:]) > 1  # a weekday on which it is closed
            gap = np.where(shut, self.holiday, np.where(between > 1, self.weekend, self.night))
            weights = np.insert(np.ones(len(days)), np.arange(1, len(days)), gap)
        times = (knots - begin) / np.timedelta64(1, "us")
        here = int(np.searchsorted(times, 0.0, side="right"))  # the piece in which `begin` is
        return np.concatenate([[0.0], times[here:]]), weights[here - 1 :]


@lru_cache(maxsize=256)
def _mean_weight(night: float, weekend: float, holiday: float, market: str) -> float:
    if market == "always":
        return (5.0 + 2.0 * weekend) / 7.0
    clock = VarianceClock(night=night, weekend=weekend, holiday=holiday, scaled=False)
    begin, end = (pd.Timestamp(day, tz=NEW_YORK) for day in _REFERENCE)
    years = (end - begin) / pd.Timedelta(days=365)
    return float(clock.years(begin, np.array([years]))[0] / years)


def _event(pair: Any) -> tuple[pd.Timestamp, float]:
    try:
        when, days = pair
        time, number = pd.Timestamp(when), float(days)
    except (TypeError, ValueError) as error:
        raise ValueError(f"event {pair!r} is no time with a number of days: {error}") from None
    if time is pd.NaT:
        raise ValueError(f"event {pair!r} has no time")
    if not 0.0 <= number < np.inf:
        raise ValueError(f"the event at {when} adds {days} days: they must be finite and not negative")
    return (time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")).as_unit("us"), number


def _instant(time: pd.Timestamp) -> np.datetime64:
    utc = time if time.tzinfo is None else time.tz_convert("UTC").tz_localize(None)
    return np.datetime64(utc, "us")
