"""Layouts: how files name their columns, and how each becomes the tidy table."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from jaxcal.dates.instants import DERIBIT_SETTLEMENT, Instants, first_of_poll, read_instants, years_between
from jaxcal.dates.us_calendar import close_us
from jaxcal.dates.us_roots import exercise_of, settlement_of


@dataclass(frozen=True)
class Layout:
    """One way of naming the columns of a quote file.

    Attributes:
        name: what `venue=` calls it.
        required: columns it always has; `"a|b"` means either.
        to_tidy: a table in this layout to the tidy table, rows and index unchanged.
    """

    name: str
    required: tuple[str, ...]
    to_tidy: Callable[[pd.DataFrame], pd.DataFrame]

    def missing(self, columns: pd.Index) -> list[str]:
        """The required columns that are not there."""
        return [names for names in self.required if not any(name in columns for name in names.split("|"))]


def recognise(columns: pd.Index) -> Layout | None:
    """The layout of a table with these columns, or None.

    Example:
        >>> recognise(pd.Index(["T", "strike", "iv"])).name
        'published'
    """
    tidy = not {"snapshot_ts", "session_date", "T", "days_to_expiry"} & set(columns)
    names = ("tidy",) if tidy or "quote_time" in columns else ("published", "deribit", "us")
    return next((LAYOUTS[name] for name in names if not LAYOUTS[name].missing(columns)), None)


def _from_deribit(table: pd.DataFrame) -> pd.DataFrame:
    """Prices in coin, one forward an expiry, instants in UTC, instruments polled one after another."""
    tidy = table.rename(columns={"snapshot_ts": "quote_time", "underlying_price": "forward"})
    tidy = _in_currency(tidy).assign(profile="crypto")
    polled, undated = read_instants(tidy["quote_time"])
    names = tidy["underlying"].astype(str).to_numpy() if "underlying" in tidy else np.zeros(len(tidy), str)
    tidy["update_time"] = _utc_times(polled.copy())  # of several rows of a contract the last counts
    for name in np.unique(names):
        rows = names == name
        polled[rows] = first_of_poll(polled[rows])
    if not undated[~np.isnat(polled)].all():  # bare dates are left for the border to refuse
        tidy["quote_time"] = _utc_times(polled)
    expiry, bare = read_instants(tidy["expiry"])
    if bare.any():
        tidy["expiry"] = _utc_times(np.where(bare, expiry + np.timedelta64(DERIBIT_SETTLEMENT), expiry))
    if not {"bid", "ask"} & set(tidy):  # only volatilities: the exchange's mark, with its bid and ask beside it
        tidy["iv"] = tidy["mark_iv"]
        if "forward" not in tidy and "delta" in tidy:
            tidy["forward"] = _forward_from_delta(tidy, years_between(polled, read_instants(tidy["expiry"])[0]))
    return tidy


# BTC_USDC-27JUN25-100000-C, BTC_USDC: what is settled in money rather than in the coin.
_LINEAR = r"([A-Z0-9]+_(?:USD[A-Z]?|EURR?))(?:-.*)?$"


def _in_currency(tidy: pd.DataFrame) -> pd.DataFrame:
    """Prices in coin, but for contracts whose name, underlying or currency of settlement says money."""
    linear = np.zeros(len(tidy), bool)
    for column in ("instrument_name", "underlying"):
        if column not in tidy:
            continue
        named = tidy[column].astype(str).str.strip().str.upper().str.extract(_LINEAR, expand=False)
        rows = named.notna().to_numpy(bool)
        if column == "instrument_name" and "underlying" in tidy:  # BTC and BTC_USDC are two surfaces
            tidy["underlying"] = named.where(rows, tidy["underlying"])
        linear |= rows
    for column in ("settlement_currency", "quote_currency"):
        if column in tidy:
            words = tidy[column].astype(str).str.strip().str.upper()
            linear |= words.isin(["USDC", "USDT", "USDE", "EURR"]).to_numpy(bool)
    if "currency_of_price" not in tidy:
        return tidy.assign(currency_of_price=np.where(linear, "quote", "coin"))
    unsaid = tidy["currency_of_price"].isna() | tidy["currency_of_price"].astype(str).str.strip().eq("")
    return tidy.assign(currency_of_price=tidy["currency_of_price"].where(~unsaid, np.where(linear, "quote", "coin")))


def _utc_times(instants: Instants) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(instants).tz_localize("UTC")


def _forward_from_delta(tidy: pd.DataFrame, years: np.ndarray) -> np.ndarray:
    """Solve N(d1) = delta of a call for the forward, row by row; NaN away from the money, where delta is blunt."""
    strike, iv, delta = (
        pd.to_numeric(tidy[name], errors="coerce").to_numpy(float) for name in ("strike", "iv", "delta")
    )
    call_delta = np.where(delta < 0.0, 1.0 + delta, delta)
    known = (call_delta > 0.15) & (call_delta < 0.85) & (iv > 0.0) & (years > 0.0) & (strike > 0.0)
    quantile = NormalDist().inv_cdf
    d1 = np.array([quantile(x) for x in call_delta[known]])
    deviation = iv[known] * np.sqrt(years[known])
    forward = np.full(len(tidy), np.nan)
    forward[known] = strike[known] * np.exp(deviation * (d1 - 0.5 * deviation))
    return forward


def _from_us(table: pd.DataFrame) -> pd.DataFrame:
    """Spot beside every row, bare expiry dates, quotes of the close of the session."""
    tidy = table.rename(columns={"underlying_price": "spot", "iv": "published_iv"})
    session, _ = read_instants(tidy.pop("session_date"))
    tidy["quote_time"] = _utc_times(close_us(session))
    if not {"bid", "ask"} & set(tidy):
        tidy = tidy.rename(columns={"last": "price"} if "last" in tidy else {"published_iv": "iv"})
    by_root = "root" in tidy
    names = tidy["root"] if by_root else tidy["underlying"] if "underlying" in tidy else pd.Series("", tidy.index)
    if "exercise" not in tidy:
        tidy["exercise"] = exercise_of(names)
    if "settlement" not in tidy:
        tidy["settlement"] = settlement_of(names, read_instants(tidy["expiry"])[0], by_root=by_root)
    return tidy


def _from_published(table: pd.DataFrame) -> pd.DataFrame:
    """Years or days to expiry, a zero rate and a spot beside every row."""
    tidy = table.rename(
        columns={"zero_rate": "rate", "underlying_price": "spot", "session_date": "quote_time", "expiry": "expiry_date"}
    )
    if "T" in tidy:
        return tidy.rename(columns={"T": "expiry"})
    tidy["expiry"] = pd.to_numeric(tidy["days_to_expiry"], errors="coerce") / 365.0
    return tidy


_VALUE = "bid|ask|price|iv"
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("tidy", ("expiry", "strike", _VALUE), lambda table: table),
        Layout("deribit", ("snapshot_ts", "expiry", "strike", "option_type", "bid|ask|mark_iv"), _from_deribit),
        Layout("us", ("session_date", "expiry", "strike", "option_type", "bid|ask|last|iv"), _from_us),
        Layout("published", ("T|days_to_expiry", "strike", _VALUE), _from_published),
    )
}
