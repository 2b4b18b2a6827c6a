"""gather_updates: a stream of updates of contracts to the last state of each, at the last time."""

from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.dates.instants import Instants, read_instants
from jaxcal.market.tables.cells import read_numbers, to_digits

_GAP = np.timedelta64(timedelta(minutes=2))  # updates that follow one another within this are of one market ...
_LENGTH = np.timedelta64(timedelta(minutes=15))  # ... as long as they last no longer than this
_SESSION = np.timedelta64(timedelta(hours=24))  # the longest stream that is taken for one market
_MOST = 0.5  # a time at which fewer of the contracts are quoted is an update, not a snapshot


def gather_updates(quotes: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Bring the updates of a stream to one time, so that the last of each contract counts.

    A table of updates has few contracts at any one time; a table of snapshots has most of them at every time. Times of
    one underlying that follow one another within two minutes are one stream, unless they are snapshots that last longer
    than a quarter of an hour. Where most streams of a day have few of its contracts, the day is one stream. Snapshots
    that are further apart stay what they are.

    Args:
        quotes: the tidy table, with `quote_time`; it is not changed.

    Returns:
        table: `quote_time` is the last time of the stream, and `update_time` that of the row, where there were updates:
            of the rows of a contract the one with the latest `update_time` is used.
        note: what was done; empty if nothing.
    """
    if not {"quote_time", "strike", "expiry"} <= set(quotes.columns):
        return quotes, ""
    told = "update_time" in quotes  # by a layout that has found polls
    if not told and quotes["quote_time"].nunique() < 2:
        return quotes, ""
    instants, bare = read_instants(quotes["quote_time"])
    known = ~np.isnat(instants)
    if bare.any() or not known.any():
        return quotes, ""
    code = pd.factorize(quotes["underlying"].astype(str))[0] if "underlying" in quotes else np.zeros(len(quotes), int)
    contract, gathered = number_contracts(quotes), instants.copy()
    updated = read_instants(quotes["update_time"])[0] if told else instants
    for name in np.unique(code[known]):
        rows = np.flatnonzero(known & (code == name))
        if told:
            gathered[rows] = _last_of_poll(instants[rows], updated[rows], contract[rows])
        else:
            gathered[rows] = _last_of_stream(instants[rows], contract[rows])
    moved = known & (gathered != instants)
    if not moved.any():
        return quotes, ""
    count = len(np.unique(updated[known & np.isin(gathered, gathered[moved])]))
    table = quotes.assign(quote_time=_in_utc(gathered), update_time=_in_utc(updated))
    return table, f"{count:,} times are those of updates: the last of each contract counts"


def _in_utc(instants: Instants) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(instants).tz_localize("UTC")


def number_contracts(quotes: pd.DataFrame) -> NDArray[np.int64]:
    """`[n]` a number for each contract: equal where expiry, strike (to twelve digits) and side are.

    Example:
        >>> number_contracts(pd.DataFrame({"expiry": 0.1, "strike": [90.0, 95.0, 90.0]})).tolist()
        [0, 1, 0]
    """
    number = np.zeros(len(quotes), np.int64)
    for name in ("expiry", "strike", "option_type"):
        if name in quotes:
            column = quotes[name].astype(str).str.strip()
            if name == "strike":  # one strike may be written as 100, 100.0 or, after arithmetic, 100.00000000000001
                values = read_numbers(quotes[name])[0]
                column = column.where(np.isnan(values), pd.Series(to_digits(values), quotes.index).astype(str))
            code = pd.factorize(column)[0] + 1
            number = np.unique(number * (code.max() + 1) + code, return_inverse=True)[1]
    return number


def _last_of_poll(instants: Instants, updated: Instants, contract: NDArray[np.int64]) -> Instants:
    """`[n]` of one underlying: the last update of polls that have a contract twice; the time of the others."""
    times, when = np.unique(instants, return_inverse=True)
    twice = np.bincount(when, minlength=len(times)) > _num_contracts(when, contract, len(times))
    last = pd.Series(updated).groupby(when).max().to_numpy("datetime64[us]")
    return np.where(twice & (last > times), last, times)[when]


def _last_of_stream(instants: Instants, contract: NDArray[np.int64]) -> Instants:
    """`[n]` of one underlying: the last time of the stream that each row is of; its own where it is of a snapshot."""
    times, when = np.unique(instants, return_inverse=True)
    burst = np.cumsum(np.append(False, np.diff(times) > _GAP))
    at_time = _num_contracts(when, contract, len(times))
    of_burst = _num_contracts(burst[when], contract, int(burst[-1]) + 1)
    start = np.searchsorted(burst, np.arange(burst[-1] + 1))
    end = np.append(start[1:], len(times)) - 1
    last = times.copy()
    full = at_time > _MOST * of_burst[burst]
    for place in np.flatnonzero(end > start).tolist():
        members = slice(start[place], end[place] + 1)
        if not full[members].all() or times[end[place]] - times[start[place]] <= _LENGTH:
            last[members] = times[end[place]]
    begun = 0  # streams of single updates, however far apart, by sessions
    for i in range(1, len(start) + 1):
        if i < len(start) and times[end[i]] - times[start[begun]] <= _SESSION:
            continue
        members = slice(start[begun], end[i - 1] + 1)
        rows = (when >= start[begun]) & (when <= end[i - 1])
        if i - begun > 2 and np.median(of_burst[begun:i]) < _MOST * len(np.unique(contract[rows])):
            last[members] = times[end[i - 1]]
        begun = i
    return last[when]


def _num_contracts(place: NDArray[np.int64], contract: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """`[size]` the number of different contracts at each place."""
    return np.bincount(np.unique(np.stack([place, contract]), axis=1)[0], minlength=size)
